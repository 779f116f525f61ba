// Where devices send their readings, and Capture, which writes them as Avro files into the store.

@description('Azure region.')
param location string

@description('Tags of every resource that takes tags.')
param tags object

@description('Name of the namespace; unique in Azure.')
param name string

@description('Name of the hub.')
param hubName string

@description('Partitions of the hub; cannot be changed later.')
@minValue(1)
@maxValue(32)
param partitionCount int

@description('Throughput units: each takes 1 MB or 1,000 events a second.')
@minValue(1)
@maxValue(40)
param throughputUnits int

@description('Days that the hub itself keeps events; what Capture fills in from after an outage of the storage.')
@minValue(1)
@maxValue(7)
param retentionDays int

@description('Seconds after which Capture closes a file.')
param captureIntervalSeconds int

@description('Resource id of the identity that Capture writes with.')
param captureIdentityId string

@description('Principal id of the same identity.')
param capturePrincipalId string

@description('Name of the data storage account.')
param dataStorageName string

@description('Container that Capture writes into.')
param containerName string

@description('True: devices reach the namespace through its private endpoint only.')
param privateNetwork bool

var roles = loadJsonContent('../roles.json')

resource data 'Microsoft.Storage/storageAccounts@2024-01-01' existing = {
  name: dataStorageName
}

resource blobService 'Microsoft.Storage/storageAccounts/blobServices@2024-01-01' existing = {
  parent: data
  name: 'default'
}

resource container 'Microsoft.Storage/storageAccounts/blobServices/containers@2024-01-01' existing = {
  parent: blobService
  name: containerName
}

resource captureWrites 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: container
  name: guid(container.id, capturePrincipalId, roles['Storage Blob Data Contributor'])
  properties: {
    description: 'Capture writes the files of readings.'
    principalId: capturePrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles['Storage Blob Data Contributor'])
  }
}

resource namespace 'Microsoft.EventHub/namespaces@2024-01-01' = {
  name: name
  location: location
  tags: tags
  sku: {
    name: 'Standard'
    tier: 'Standard'
    capacity: throughputUnits
  }
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${captureIdentityId}': {}
    }
  }
  properties: {
    disableLocalAuth: true
    minimumTlsVersion: '1.2'
    publicNetworkAccess: privateNetwork ? 'Disabled' : 'Enabled'
  }
}

resource hub 'Microsoft.EventHub/namespaces/eventhubs@2024-01-01' = {
  parent: namespace
  name: hubName
  dependsOn: [
    captureWrites
  ]
  properties: {
    partitionCount: partitionCount
    messageRetentionInDays: retentionDays
    captureDescription: {
      enabled: true
      encoding: 'Avro'
      intervalInSeconds: captureIntervalSeconds
      sizeLimitInBytes: 314572800
      skipEmptyArchives: true
      destination: {
        name: 'EventHubArchive.AzureBlockBlob'
        identity: {
          type: 'UserAssigned'
          userAssignedIdentity: captureIdentityId
        }
        properties: {
          storageAccountResourceId: data.id
          blobContainer: containerName
          archiveNameFormat: '{Namespace}/{EventHub}/{PartitionId}/{Year}/{Month}/{Day}/{Hour}/{Minute}/{Second}'
        }
      }
    }
  }
}

output hubName string = hub.name
