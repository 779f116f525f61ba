// What the defaults deploy: the continuous integration lists it as default.snapshot.json.
using '../main.bicep'

param environmentName = 'sample'
param location = 'westeurope'
param workerImage = 'crfleetscoresample.azurecr.io/worker@sha256:0000000000000000000000000000000000000000000000000000000000000000'
param budgetStart = '2026-11-01'
