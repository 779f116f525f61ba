// Who is who: one identity per thing that acts, so that each gets only the roles it needs.

@description('Azure region.')
param location string

@description('Tags of every resource that takes tags.')
param tags object

@description('Name of the identity of the function app.')
param appName string

@description('Name of the identity that the pool\'s nodes, and so the worker, carry.')
param workerName string

@description('True: Event Hubs Capture needs an identity.')
param captureEnabled bool

@description('Name of the identity that Event Hubs Capture writes with.')
param captureName string

resource app 'Microsoft.ManagedIdentity/userAssignedIdentities@2023-01-31' = {
  name: appName
  location: location
  tags: tags
}

resource worker 'Microsoft.ManagedIdentity/userAssignedIdentities@2023-01-31' = {
  name: workerName
  location: location
  tags: tags
}

resource capture 'Microsoft.ManagedIdentity/userAssignedIdentities@2023-01-31' = if (captureEnabled) {
  name: captureName
  location: location
  tags: tags
}

output appId string = app.id
output appClientId string = app.properties.clientId
output appPrincipalId string = app.properties.principalId
output workerId string = worker.id
output workerClientId string = worker.properties.clientId
output workerPrincipalId string = worker.properties.principalId
output captureId string = captureEnabled ? capture.id : ''
output capturePrincipalId string = captureEnabled ? (capture.?properties.principalId ?? '') : ''
