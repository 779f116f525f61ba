// Who may do what, by the name of the role; README.md says why each is needed.

@description('Principal id of the function app\'s identity.')
param appPrincipalId string

@description('Principal id of the worker\'s identity.')
param workerPrincipalId string

@description('Object id of a person or group that reads and mends data with the command line tool; empty: nobody.')
param operatorPrincipalId string

@description('What the operator is.')
@allowed([
  'User'
  'Group'
  'ServicePrincipal'
])
param operatorPrincipalType string

@description('Name of the storage account of the host and the Durable hub.')
param hubStorageName string

@description('Name of the data storage account.')
param dataStorageName string

@description('Queue that workers announce finished shards in.')
param completionQueueName string

@description('Name of the registry.')
param registryName string

@description('True: there is a Batch account.')
param batchEnabled bool

@description('Name of the Batch account.')
param batchAccountName string

@description('Name of the Application Insights component.')
param insightsName string

var roles = loadJsonContent('../roles.json')

resource hub 'Microsoft.Storage/storageAccounts@2024-01-01' existing = {
  name: hubStorageName
}

resource data 'Microsoft.Storage/storageAccounts@2024-01-01' existing = {
  name: dataStorageName
}

resource queueService 'Microsoft.Storage/storageAccounts/queueServices@2024-01-01' existing = {
  parent: data
  name: 'default'
}

resource completions 'Microsoft.Storage/storageAccounts/queueServices/queues@2024-01-01' existing = {
  parent: queueService
  name: completionQueueName
}

resource registry 'Microsoft.ContainerRegistry/registries@2023-07-01' existing = {
  name: registryName
}

resource batch 'Microsoft.Batch/batchAccounts@2025-06-01' existing = if (batchEnabled) {
  name: batchAccountName
}

resource insights 'Microsoft.Insights/components@2020-02-02' existing = {
  name: insightsName
}

resource appOwnsHubBlobs 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: hub
  name: guid(hub.id, appPrincipalId, roles['Storage Blob Data Owner'])
  properties: {
    description: 'The host keeps its package, leases and large Durable messages there.'
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles['Storage Blob Data Owner'])
  }
}

resource appUsesHubQueues 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: hub
  name: guid(hub.id, appPrincipalId, roles['Storage Queue Data Contributor'])
  properties: {
    description: 'The Durable hub queues its messages there.'
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles['Storage Queue Data Contributor'])
  }
}

resource appUsesHubTables 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: hub
  name: guid(hub.id, appPrincipalId, roles['Storage Table Data Contributor'])
  properties: {
    description: 'The Durable hub keeps its history there.'
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles['Storage Table Data Contributor'])
  }
}

resource appWritesData 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: data
  name: guid(data.id, appPrincipalId, roles['Storage Blob Data Contributor'])
  properties: {
    description: 'The app reads input and models and publishes results.'
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles['Storage Blob Data Contributor'])
  }
}

resource appReadsCompletions 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: data
  name: guid(data.id, appPrincipalId, roles['Storage Queue Data Contributor'])
  properties: {
    description: 'The queue trigger takes completions and moves what it cannot read to the poison queue.'
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles['Storage Queue Data Contributor'])
  }
}

resource appSubmitsTasks 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (batchEnabled) {
  scope: batch
  name: guid(batch.id, appPrincipalId, roles['Azure Batch Data Contributor'])
  properties: {
    description: 'The app creates jobs and tasks and wakes the pool\'s autoscale.'
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles['Azure Batch Data Contributor'])
  }
}

resource appSendsTelemetry 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: insights
  name: guid(insights.id, appPrincipalId, roles['Monitoring Metrics Publisher'])
  properties: {
    description: 'Telemetry is taken from identities only.'
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles['Monitoring Metrics Publisher'])
  }
}

resource workerPullsImage 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: registry
  name: guid(registry.id, workerPrincipalId, roles.AcrPull)
  properties: {
    description: 'Nodes pull the worker image.'
    principalId: workerPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.AcrPull)
  }
}

resource workerWritesData 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: data
  name: guid(data.id, workerPrincipalId, roles['Storage Blob Data Contributor'])
  properties: {
    description: 'The worker reads input and models and commits shards.'
    principalId: workerPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles['Storage Blob Data Contributor'])
  }
}

resource workerAnnouncesShards 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: completions
  name: guid(completions.id, workerPrincipalId, roles['Storage Queue Data Message Sender'])
  properties: {
    description: 'The worker announces finished shards, and can do nothing else with the queue.'
    principalId: workerPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles['Storage Queue Data Message Sender'])
  }
}

resource workerSendsTelemetry 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: insights
  name: guid(insights.id, workerPrincipalId, roles['Monitoring Metrics Publisher'])
  properties: {
    description: 'Telemetry is taken from identities only.'
    principalId: workerPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles['Monitoring Metrics Publisher'])
  }
}

resource operatorWritesData 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(operatorPrincipalId)) {
  scope: data
  name: guid(data.id, operatorPrincipalId, roles['Storage Blob Data Contributor'])
  properties: {
    description: 'People load input and models and look at results.'
    principalId: operatorPrincipalId
    principalType: operatorPrincipalType
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles['Storage Blob Data Contributor'])
  }
}
