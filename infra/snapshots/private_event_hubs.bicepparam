// What the largest deployment makes: private network, Event Hubs, a hierarchical namespace, an operator.
using '../main.bicep'

param environmentName = 'sample'
param location = 'westeurope'
param workerImage = 'crfleetscoresample.azurecr.io/worker@sha256:0000000000000000000000000000000000000000000000000000000000000000'
param budgetStart = '2026-11-01'
param privateNetwork = true
param eventHubsEnabled = true
param hierarchicalNamespace = true
param operatorPrincipalId = '00000000-0000-0000-0000-000000000001'
