// The Batch account (Entra ID only, nodes in the service's subscription, no linked storage) and its log.

@description('Azure region.')
param location string

@description('Tags of every resource that takes tags.')
param tags object

@description('Name of the account; unique in the region.')
param name string

@description('True: reachable through private endpoints only.')
param privateNetwork bool

@description('Workspace that gets the service log, from which the alert on resize errors is made; empty: not there yet.')
param workspaceId string

resource account 'Microsoft.Batch/batchAccounts@2025-06-01' = {
  name: name
  location: location
  tags: tags
  identity: {
    type: 'SystemAssigned'
  }
  properties: {
    poolAllocationMode: 'BatchService'
    allowedAuthenticationModes: [
      'AAD'
    ]
    publicNetworkAccess: privateNetwork ? 'Disabled' : 'Enabled'
  }
}

resource serviceLog 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = if (!empty(workspaceId)) {
  scope: account
  name: 'service-log'
  properties: {
    workspaceId: workspaceId
    logs: [
      {
        category: 'ServiceLog'
        enabled: true
      }
    ]
  }
}

output name string = account.name
output endpoint string = 'https://${account.properties.accountEndpoint}'
