// The private endpoints of every service that the app or a node talks to.

@description('Azure region.')
param location string

@description('Tags of every resource that takes tags.')
param tags object

@description('Resource id of the network.')
param networkId string

@description('Subnet that the endpoints lie in.')
param subnetId string

@description('Name of the storage account of the host and the Durable hub.')
param hubStorageName string

@description('Name of the data storage account.')
param dataStorageName string

@description('True: the data account has a hierarchical namespace, whose readers use the dfs endpoint.')
param hierarchicalNamespace bool

@description('Name of the registry.')
param registryName string

@description('True: there is a Batch account.')
param batchEnabled bool

@description('Name of the Batch account.')
param batchAccountName string

@description('True: there is an Event Hubs namespace.')
param eventHubsEnabled bool

@description('Name of the Event Hubs namespace.')
param eventHubsName string

var storageSuffix = environment().suffixes.storage
var blobZone = 'privatelink.blob.${storageSuffix}'
var dfsZone = 'privatelink.dfs.${storageSuffix}'
var queueZone = 'privatelink.queue.${storageSuffix}'
var tableZone = 'privatelink.table.${storageSuffix}'
var registryZone = 'privatelink.azurecr.io'
var batchZone = 'privatelink.batch.azure.com'
var eventHubsZone = 'privatelink.servicebus.windows.net'

var hubStorageId = resourceId('Microsoft.Storage/storageAccounts', hubStorageName)
var dataStorageId = resourceId('Microsoft.Storage/storageAccounts', dataStorageName)
var registryId = resourceId('Microsoft.ContainerRegistry/registries', registryName)
var batchId = resourceId('Microsoft.Batch/batchAccounts', batchAccountName)
var eventHubsId = resourceId('Microsoft.EventHub/namespaces', eventHubsName)

var alwaysZones = [
  blobZone
  queueZone
  tableZone
  registryZone
]
var alwaysEndpoints = [
  { name: 'hub-blob', service: hubStorageId, group: 'blob', zone: blobZone }
  { name: 'hub-queue', service: hubStorageId, group: 'queue', zone: queueZone }
  { name: 'hub-table', service: hubStorageId, group: 'table', zone: tableZone }
  { name: 'data-blob', service: dataStorageId, group: 'blob', zone: blobZone }
  { name: 'data-queue', service: dataStorageId, group: 'queue', zone: queueZone }
  { name: 'registry', service: registryId, group: 'registry', zone: registryZone }
]
var dfsEndpoints = [
  { name: 'data-dfs', service: dataStorageId, group: 'dfs', zone: dfsZone }
]
var batchEndpoints = [
  { name: 'batch-account', service: batchId, group: 'batchAccount', zone: batchZone }
  { name: 'batch-nodes', service: batchId, group: 'nodeManagement', zone: batchZone }
]
var eventHubsEndpoints = [
  { name: 'event-hubs', service: eventHubsId, group: 'namespace', zone: eventHubsZone }
]

module links 'private_links.bicep' = {
  name: 'fleetscore-private-services-links'
  params: {
    location: location
    tags: tags
    networkId: networkId
    subnetId: subnetId
    zoneNames: concat(alwaysZones, hierarchicalNamespace ? [ dfsZone ] : [], batchEnabled ? [ batchZone ] : [], eventHubsEnabled ? [ eventHubsZone ] : [])
    endpoints: concat(alwaysEndpoints, hierarchicalNamespace ? dfsEndpoints : [], batchEnabled ? batchEndpoints : [], eventHubsEnabled ? eventHubsEndpoints : [])
  }
}
