// Fleetscore on Azure: one resource group with everything in it, and no secret in any setting.
// Deploy with `azd up`; README.md beside this file says what is made, what it costs and who may do what.
targetScope = 'subscription'

@description('Name of the azd environment; the resource group is called after it.')
@minLength(1)
@maxLength(64)
param environmentName string

@description('Azure region of everything.')
@minLength(1)
param location string

@description('Tags of every resource, as JSON; for cost reports, and for policies that demand them.')
param tags object = {}

@description('Version of Python that the app runs on.')
@allowed([
  '3.11'
  '3.12'
  '3.13'
])
param pythonVersion string = '3.11'

@description('Memory of an app instance in megabytes; processor and network grow with it.')
@allowed([
  512
  2048
  4096
])
param instanceMemoryMB int = 2048

@description('Most app instances that the platform may start.')
@minValue(40)
@maxValue(1000)
param maximumInstanceCount int = 100

@description('App instances kept ready for Durable functions; 0 saves their price, and the first step of a run waits for a cold start.')
@minValue(0)
@maxValue(20)
param alwaysReadyDurable int = 1

@description('When due sensor windows are started (NCRONTAB, UTC).')
@minLength(9)
param sensorAnomalySchedule string = '0 5 * * * *'

@description('When due sales windows are started (NCRONTAB, UTC).')
@minLength(9)
param storeSalesSchedule string = '0 0 4 * * 1'

@description('When due server windows are started (NCRONTAB, UTC).')
@minLength(9)
param serverLoadSchedule string = '0 30 2 * * *'

@description('When old attempts, logs and Durable history are removed (NCRONTAB, UTC).')
@minLength(9)
param housekeepingSchedule string = '0 15 3 * * *'

@description('Inline shards that one instance may run at once; 0: one per core.')
@minValue(0)
@maxValue(1024)
param parallelism int = 0

@description('Seconds that one inline shard is packed for.')
@minValue(1)
@maxValue(1800)
param inlineShardSeconds int = 60

@description('Workloads of your own: name=module:Class, separated by commas.')
param workloads string = ''

@description('Workloads whose own Python and pickles may run, separated by commas; their settings must say so too.')
param trusted string = ''

@description('Where notifications are posted; kept out of the deployment\'s history, since such addresses often carry a token. Empty: nowhere.')
@secure()
param webhookUrl string = ''

@description('1: webhooks and callbacks may lead into private networks.')
@allowed([
  0
  1
])
param webhookPrivate int = 0

@description('Who is believed at /api/entra/: App Service authentication, which is then switched on, and tokens; or tokens alone. Empty: nobody.')
@allowed([
  ''
  'easyauth'
  'tokens'
])
param auth string = ''

@description('Issuer of tokens, as https://login.microsoftonline.com/TENANT/v2.0.')
param authIssuer string = ''

@description('Audiences of tokens, separated by commas; the first is the client id of the app registration.')
param authAudience string = ''

@description('How the results and inputs are replicated: in one building, across a region\'s zones, or to a second region too.')
@allowed([
  'Standard_LRS'
  'Standard_ZRS'
  'Standard_GZRS'
])
param dataReplication string = 'Standard_LRS'

@description('Days that a deleted or overwritten blob of the data can be brought back.')
@minValue(1)
@maxValue(365)
param softDeleteDays int = 7

@description('True: the data account gets a hierarchical namespace, by which Spark and Fabric read the result tables; fixed once the account is made.')
param hierarchicalNamespace bool = false

@description('False: neither a Batch account nor a pool is made, and every shard is inline.')
param batchEnabled bool = true

@description('Where shards are scored: by size and cost, or always in one place. With inline neither a Batch account nor a pool is made.')
@allowed([
  'auto'
  'inline'
  'batch'
])
param batchPlacement string = 'auto'

@description('Worker image with its digest (registry/worker@sha256:...); set by the preprovision hook. Empty: no pool, every shard is inline.')
param workerImage string = ''

@description('Size of the pool\'s nodes; it needs Spot quota, and dedicated quota of its family for the floor.')
@minLength(1)
param poolVmSize string = 'Standard_D4ads_v5'

@description('Tasks that a node runs at once; the node\'s cores is a good number.')
@minValue(1)
@maxValue(256)
param poolTaskSlots int = 4

@description('Size of a node\'s system disk in gigabytes.')
@minValue(64)
@maxValue(1024)
param poolOsDiskGb int = 128

@description('Most Spot nodes.')
@minValue(0)
@maxValue(1000)
param poolMaxSpot int = 20

@description('Most dedicated nodes: used when Spot nodes are taken away or never come.')
@minValue(0)
@maxValue(1000)
param poolMaxDedicated int = 4

@description('Dedicated nodes while there is work; not above the most.')
@minValue(0)
@maxValue(1000)
param poolDedicatedFloor int = 1

@description('Spot nodes kept for a while after the last work, so that the next run starts at once.')
@minValue(0)
@maxValue(1000)
param poolWarmNodes int = 0

@description('Minutes that they are kept.')
@minValue(5)
@maxValue(1440)
param poolWarmMinutes int = 30

@description('Minutes of queued work without a running task after which dedicated nodes are asked for.')
@minValue(10)
@maxValue(120)
param poolStallMinutes int = 15

@description('True: an Event Hubs namespace takes readings and Capture writes them as Avro files.')
param eventHubsEnabled bool = false

@description('Partitions of the hub; cannot be changed later.')
@minValue(1)
@maxValue(32)
param eventHubsPartitions int = 4

@description('Throughput units of the namespace: each takes 1 MB or 1,000 events a second.')
@minValue(1)
@maxValue(40)
param eventHubsThroughputUnits int = 1

@description('Seconds after which Capture closes a file.')
@minValue(60)
@maxValue(900)
param captureIntervalSeconds int = 300

@description('True: storage, registry, Batch and the app are reached through a network of our own only.')
param privateNetwork bool = false

@description('First two numbers of that network\'s addresses; it takes the first /22 of them.')
@minLength(3)
@maxLength(7)
param privateNetworkBase string = '10.90'

@description('Address that gets the alerts; empty: they are only shown in the portal.')
param alertEmail string = ''

@description('Hours without a tick of any timer after which the schedule\'s silence is an alert; more than the gap between two ticks of the busiest schedule.')
@allowed([
  1
  2
  3
  4
  5
  6
  24
  48
])
param alertSilenceHours int = 3

@description('Budget of the resource group per month, in the subscription\'s currency; 0: none.')
@minValue(0)
@maxValue(1000000)
param monthlyBudget int = 100

@description('First day of the month that the budget starts in, as 2026-11-01; set once by the preprovision hook, since a budget\'s start cannot be moved.')
param budgetStart string = ''

@description('Days that logs are kept.')
@minValue(30)
@maxValue(730)
param logRetentionDays int = 30

@description('Most gigabytes of logs taken in per day; -1: no limit.')
@minValue(-1)
@maxValue(1000)
param logDailyQuotaGb int = 5

@description('Object id of who loads input and reads results with the command line tool; azd sets it to whoever deploys. Empty: nobody.')
param operatorPrincipalId string = ''

@description('What that is.')
@allowed([
  'User'
  'Group'
  'ServicePrincipal'
])
param operatorPrincipalType string = 'User'

var names = loadJsonContent('names.json')
var token = uniqueString(subscription().id, environmentName, location)
var groupName = format(names.group, environmentName)
var registryName = format(names.registry, token)
var hubStorageName = format(names.hubStorage, token)
var dataStorageName = format(names.dataStorage, token)
var insightsName = format(names.insights, token)
var batchAccountName = format(names.batchAccount, token)
var eventHubsName = format(names.eventHubs, token)
var appName = format(names.app, token)

var packageContainer = 'app-package'
var storeContainer = 'fleetscore'
var captureContainer = 'capture'
var completionQueue = 'fleetscore-completions'
var noticeQueue = 'fleetscore-notices'
var hubName = 'readings'

// Nothing of Batch is made where no shard can be placed there: accounts, pools and cores have quotas that can be zero.
var offloadEnabled = batchEnabled && batchPlacement != 'inline'

// Without an image a pool could run nothing, so there is none and the app is told of none.
var poolEnabled = offloadEnabled && !empty(workerImage)

// Activities share one process. Three quarters of an instance are planned: what the loaded process takes, and one shard per activity.
// 400 MB were measured after a plan over 20 million rows (docs/decisions/0012-activities-at-once.md); 512 MB are for small fleets.
var processMemoryMB = instanceMemoryMB >= 2048 ? 400 : 320
var maximumActivities = instanceMemoryMB >= 4096 ? 4 : (instanceMemoryMB >= 2048 ? 2 : 1)
var shardMemoryMB = ((instanceMemoryMB * 3 / 4) - processMemoryMB) / maximumActivities

// What Batch cannot change in a pool that has nodes is in the pool's name: a change makes a new pool, and runs that are under way end on the old one.
var poolTraits = uniqueString(workerImage, poolVmSize, string(poolTaskSlots), string(poolOsDiskGb), string(privateNetwork))
var poolName = format(names.pool, poolTraits)

var formulaText = loadTextContent('autoscale.formula')
var formulaSpot = replace(formulaText, 'maxSpot = 20;', 'maxSpot = ${poolMaxSpot};')
var formulaDedicated = replace(formulaSpot, 'maxDedicated = 4;', 'maxDedicated = ${poolMaxDedicated};')
var formulaFloor = replace(formulaDedicated, 'floorDedicated = 1;', 'floorDedicated = ${poolDedicatedFloor};')
var formulaWarm = replace(formulaFloor, 'warmNodes = 2;', 'warmNodes = ${poolWarmNodes};')
var formulaWarmWindow = replace(formulaWarm, 'warmWindow = 30 *', 'warmWindow = ${poolWarmMinutes} *')
var autoscaleFormula = replace(formulaWarmWindow, 'stallWindow = 15 *', 'stallWindow = ${poolStallMinutes} *')

module foundation 'foundation.bicep' = {
  name: 'fleetscore-foundation-${token}'
  params: {
    environmentName: environmentName
    location: location
    tags: tags
    privateNetwork: privateNetwork
  }
}

module identities 'modules/identities.bicep' = {
  name: 'fleetscore-identities'
  scope: resourceGroup(groupName)
  dependsOn: [
    foundation
  ]
  params: {
    location: location
    tags: tags
    appName: format(names.appIdentity, token)
    workerName: format(names.workerIdentity, token)
    captureEnabled: eventHubsEnabled
    captureName: format(names.captureIdentity, token)
  }
}

module monitoring 'modules/monitoring.bicep' = {
  name: 'fleetscore-monitoring'
  scope: resourceGroup(groupName)
  dependsOn: [
    foundation
  ]
  params: {
    location: location
    tags: tags
    workspaceName: format(names.workspace, token)
    insightsName: insightsName
    retentionDays: logRetentionDays
    dailyQuotaGb: logDailyQuotaGb
  }
}

module hubStorage 'modules/storage.bicep' = {
  name: 'fleetscore-hub-storage'
  scope: resourceGroup(groupName)
  params: {
    name: hubStorageName
    location: location
    tags: tags
    sku: 'Standard_LRS'
    containers: [
      packageContainer
    ]
    queues: []
    softDeleteDays: 1
    privateNetwork: privateNetwork
    trustedServices: false
    hierarchicalNamespace: false
    workspaceId: monitoring.outputs.workspaceId
  }
}

module dataStorage 'modules/storage.bicep' = {
  name: 'fleetscore-data-storage'
  scope: resourceGroup(groupName)
  params: {
    name: dataStorageName
    location: location
    tags: tags
    sku: dataReplication
    containers: eventHubsEnabled ? [ storeContainer, captureContainer ] : [ storeContainer ]
    queues: [
      completionQueue
      noticeQueue
    ]
    softDeleteDays: softDeleteDays
    privateNetwork: privateNetwork
    trustedServices: eventHubsEnabled
    hierarchicalNamespace: hierarchicalNamespace
    workspaceId: monitoring.outputs.workspaceId
  }
}

module batch 'modules/batch.bicep' = if (offloadEnabled) {
  name: 'fleetscore-batch'
  scope: resourceGroup(groupName)
  params: {
    location: location
    tags: tags
    name: batchAccountName
    privateNetwork: privateNetwork
    workspaceId: monitoring.outputs.workspaceId
  }
}

module roles 'modules/roles.bicep' = {
  name: 'fleetscore-roles'
  scope: resourceGroup(groupName)
  dependsOn: [
    batch
  ]
  params: {
    appPrincipalId: identities.outputs.appPrincipalId
    workerPrincipalId: identities.outputs.workerPrincipalId
    operatorPrincipalId: operatorPrincipalId
    operatorPrincipalType: operatorPrincipalType
    hubStorageName: hubStorage.outputs.name
    dataStorageName: dataStorage.outputs.name
    completionQueueName: completionQueue
    registryName: foundation.outputs.registryName
    batchEnabled: offloadEnabled
    batchAccountName: batchAccountName
    insightsName: monitoring.outputs.insightsName
  }
}

module network 'modules/network.bicep' = if (privateNetwork) {
  name: 'fleetscore-network'
  scope: resourceGroup(groupName)
  dependsOn: [
    foundation
  ]
  params: {
    location: location
    tags: tags
    name: format(names.network, token)
    addressBase: privateNetworkBase
  }
}

module privateServices 'modules/private_services.bicep' = if (privateNetwork) {
  name: 'fleetscore-private-services'
  scope: resourceGroup(groupName)
  dependsOn: [
    batch
    eventHubs
    hubStorage
    dataStorage
  ]
  params: {
    location: location
    tags: tags
    networkId: network.?outputs.id ?? ''
    subnetId: network.?outputs.endpointsSubnetId ?? ''
    hubStorageName: hubStorageName
    dataStorageName: dataStorageName
    hierarchicalNamespace: hierarchicalNamespace
    registryName: registryName
    batchEnabled: offloadEnabled
    batchAccountName: batchAccountName
    eventHubsEnabled: eventHubsEnabled
    eventHubsName: eventHubsName
  }
}

module pool 'modules/pool.bicep' = if (poolEnabled) {
  name: 'fleetscore-pool'
  scope: resourceGroup(groupName)
  dependsOn: [
    batch
    roles
    privateServices
  ]
  params: {
    accountName: batchAccountName
    name: poolName
    tags: tags
    vmSize: poolVmSize
    taskSlotsPerNode: poolTaskSlots
    osDiskGb: poolOsDiskGb
    image: workerImage
    registryServer: foundation.outputs.registryServer
    identityId: identities.outputs.workerId
    autoscaleFormula: autoscaleFormula
    subnetId: privateNetwork ? (network.?outputs.nodesSubnetId ?? '') : ''
  }
}

module eventHubs 'modules/event_hubs.bicep' = if (eventHubsEnabled) {
  name: 'fleetscore-event-hubs'
  scope: resourceGroup(groupName)
  params: {
    location: location
    tags: tags
    name: eventHubsName
    hubName: hubName
    partitionCount: eventHubsPartitions
    throughputUnits: eventHubsThroughputUnits
    retentionDays: 7
    captureIntervalSeconds: captureIntervalSeconds
    captureIdentityId: identities.outputs.captureId
    capturePrincipalId: identities.outputs.capturePrincipalId
    dataStorageName: dataStorage.outputs.name
    containerName: captureContainer
    privateNetwork: privateNetwork
  }
}

module app 'modules/function_app.bicep' = {
  name: 'fleetscore-app'
  scope: resourceGroup(groupName)
  dependsOn: [
    roles
    privateServices
  ]
  params: {
    location: location
    tags: tags
    name: appName
    planName: format(names.plan, token)
    pythonVersion: pythonVersion
    instanceMemoryMB: instanceMemoryMB
    maximumInstanceCount: maximumInstanceCount
    alwaysReadyDurable: alwaysReadyDurable
    identityId: identities.outputs.appId
    identityClientId: identities.outputs.appClientId
    hubStorageName: hubStorage.outputs.name
    packageContainer: packageContainer
    insightsName: monitoring.outputs.insightsName
    subnetId: privateNetwork ? (network.?outputs.appSubnetId ?? '') : ''
    privateNetwork: privateNetwork
    webhookUrl: webhookUrl
    signInEnabled: auth == 'easyauth'
    authIssuer: authIssuer
    authAudience: authAudience
    maximumActivities: maximumActivities
    settings: {
      FLEETSCORE_STORE: '${dataStorage.outputs.blobEndpoint}${storeContainer}'
      FLEETSCORE_IDENTITY_CLIENT_ID: identities.outputs.appClientId
      FLEETSCORE_SENSOR_ANOMALY_SCHEDULE: sensorAnomalySchedule
      FLEETSCORE_STORE_SALES_SCHEDULE: storeSalesSchedule
      FLEETSCORE_SERVER_LOAD_SCHEDULE: serverLoadSchedule
      FLEETSCORE_HOUSEKEEPING_SCHEDULE: housekeepingSchedule
      FLEETSCORE_PARALLELISM: string(parallelism)
      FLEETSCORE_INLINE_MEMORY_BYTES: string(shardMemoryMB * 1000000)
      FLEETSCORE_INLINE_SHARD_S: string(inlineShardSeconds)
      FLEETSCORE_WORKLOADS: workloads
      FLEETSCORE_TRUSTED: trusted
      FLEETSCORE_AUTH: auth
      FLEETSCORE_AUTH_ISSUER: authIssuer
      FLEETSCORE_AUTH_AUDIENCE: authAudience
      FLEETSCORE_WEBHOOK_PRIVATE: string(webhookPrivate)
      FLEETSCORE_BATCH_ENDPOINT: poolEnabled ? (batch.?outputs.endpoint ?? '') : ''
      FLEETSCORE_BATCH_POOL: poolName
      FLEETSCORE_BATCH_IMAGE: workerImage
      FLEETSCORE_BATCH_PLACEMENT: batchPlacement
      FLEETSCORE_WORKER_CLIENT_ID: identities.outputs.workerClientId
      FLEETSCORE_COMPLETION_QUEUE: completionQueue
      FLEETSCORE_QUEUE__queueServiceUri: dataStorage.outputs.queueEndpoint
      FLEETSCORE_QUEUE__credential: 'managedidentity'
      FLEETSCORE_QUEUE__clientId: identities.outputs.appClientId
    }
  }
}

module privateApp 'modules/private_links.bicep' = if (privateNetwork) {
  name: 'fleetscore-private-app'
  scope: resourceGroup(groupName)
  params: {
    location: location
    tags: tags
    networkId: network.?outputs.id ?? ''
    subnetId: network.?outputs.endpointsSubnetId ?? ''
    zoneNames: [
      'privatelink.azurewebsites.net'
    ]
    endpoints: [
      { name: 'app', service: app.outputs.id, group: 'sites', zone: 'privatelink.azurewebsites.net' }
    ]
  }
}

module alerts 'modules/alerts.bicep' = {
  name: 'fleetscore-alerts'
  scope: resourceGroup(groupName)
  params: {
    location: location
    tags: tags
    actionGroupName: format(names.actionGroup, token)
    alertEmail: alertEmail
    workspaceId: monitoring.outputs.workspaceId
    silenceHours: alertSilenceHours
    batchEnabled: offloadEnabled
    budgetName: format(names.budget, token)
    monthlyBudget: monthlyBudget
    budgetStart: budgetStart
  }
}

output AZURE_LOCATION string = location
output AZURE_RESOURCE_GROUP string = groupName
output AZURE_CONTAINER_REGISTRY_NAME string = foundation.outputs.registryName
output FLEETSCORE_URL string = app.outputs.url
output FLEETSCORE_APP_NAME string = appName
output FLEETSCORE_INSIGHTS_NAME string = insightsName
output FLEETSCORE_ACTION_GROUP string = format(names.actionGroup, token)
output FLEETSCORE_STORE string = '${dataStorage.outputs.blobEndpoint}${storeContainer}'
output FLEETSCORE_BATCH_ACCOUNT string = offloadEnabled ? batchAccountName : ''
output FLEETSCORE_BATCH_POOL string = poolEnabled ? poolName : ''
