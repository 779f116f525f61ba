// One storage account without keys: Entra ID only, TLS 1.2, nothing public. Used for the Durable hub and for the data.

@description('Name of the account; unique in Azure.')
param name string

@description('Azure region.')
param location string

@description('Tags of every resource that takes tags.')
param tags object

@description('How the bytes are replicated.')
@allowed([
  'Standard_LRS'
  'Standard_ZRS'
  'Standard_GZRS'
])
param sku string

@description('Blob containers to create.')
param containers array

@description('Queues to create.')
param queues array

@description('Days that a deleted or overwritten blob can be brought back.')
@minValue(1)
@maxValue(365)
param softDeleteDays int

@description('True: reachable through private endpoints only.')
param privateNetwork bool

@description('True: a private account still lets trusted Azure services in (Event Hubs Capture writes from outside the network).')
param trustedServices bool

@description('True: folders are real ones, which readers of tables at the dfs endpoint need; it cannot be changed once the account is there.')
param hierarchicalNamespace bool

@description('Workspace that gets the logs of queue writes, from which the alert on poison messages is made.')
param workspaceId string

resource account 'Microsoft.Storage/storageAccounts@2024-01-01' = {
  name: name
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: {
    name: sku
  }
  properties: {
    accessTier: 'Hot'
    isHnsEnabled: hierarchicalNamespace
    allowBlobPublicAccess: false
    allowSharedKeyAccess: false
    allowCrossTenantReplication: false
    defaultToOAuthAuthentication: true
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
    publicNetworkAccess: privateNetwork && !trustedServices ? 'Disabled' : 'Enabled'
    networkAcls: {
      defaultAction: privateNetwork ? 'Deny' : 'Allow'
      bypass: trustedServices ? 'AzureServices' : 'None'
    }
  }
}

resource blobService 'Microsoft.Storage/storageAccounts/blobServices@2024-01-01' = {
  parent: account
  name: 'default'
  properties: {
    deleteRetentionPolicy: {
      enabled: true
      days: softDeleteDays
    }
    containerDeleteRetentionPolicy: {
      enabled: true
      days: softDeleteDays
    }
  }
}

resource blobContainers 'Microsoft.Storage/storageAccounts/blobServices/containers@2024-01-01' = [for container in containers: {
  parent: blobService
  name: container
  properties: {
    publicAccess: 'None'
  }
}]

resource queueService 'Microsoft.Storage/storageAccounts/queueServices@2024-01-01' = {
  parent: account
  name: 'default'
}

resource storageQueues 'Microsoft.Storage/storageAccounts/queueServices/queues@2024-01-01' = [for queue in queues: {
  parent: queueService
  name: queue
}]

resource queueWrites 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = if (!empty(queues)) {
  scope: queueService
  name: 'queue-writes'
  properties: {
    workspaceId: workspaceId
    logs: [
      {
        category: 'StorageWrite'
        enabled: true
      }
    ]
  }
}

output name string = account.name
output id string = account.id
output blobEndpoint string = account.properties.primaryEndpoints.blob
output queueEndpoint string = account.properties.primaryEndpoints.queue
output tableEndpoint string = account.properties.primaryEndpoints.table
