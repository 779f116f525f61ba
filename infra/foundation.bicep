// The resource group, the registry and the Batch account: what must exist before the worker image can be built and quotas asked.
// The preprovision hook deploys this file alone; main.bicep deploys it again with everything else.
targetScope = 'subscription'

@description('Name of the azd environment; the resource group is called after it.')
@minLength(1)
@maxLength(64)
param environmentName string

@description('Azure region of everything.')
@minLength(1)
param location string

@description('Tags of every resource that takes tags.')
param tags object = {}

@description('True: the registry is closed to the internet and gets the tier that private endpoints need.')
param privateNetwork bool = false

@description('True: the Batch account is made too, so that its quotas can be asked before a pool is.')
param batchAccount bool = false

@description('True only while the hook builds the worker image into a registry that is otherwise private.')
param openForBuild bool = false

var names = loadJsonContent('names.json')
var token = uniqueString(subscription().id, environmentName, location)

resource group 'Microsoft.Resources/resourceGroups@2024-03-01' = {
  name: format(names.group, environmentName)
  location: location
  tags: union(tags, { 'azd-env-name': environmentName })
}

module registry 'modules/registry.bicep' = {
  name: 'fleetscore-registry'
  scope: group
  params: {
    name: format(names.registry, token)
    location: location
    tags: tags
    privateNetwork: privateNetwork
    openForBuild: openForBuild
  }
}

module batch 'modules/batch.bicep' = if (batchAccount) {
  name: 'fleetscore-batch-account'
  scope: group
  params: {
    location: location
    tags: tags
    name: format(names.batchAccount, token)
    privateNetwork: privateNetwork
    workspaceId: ''
  }
}

output registryName string = registry.outputs.name
output registryServer string = registry.outputs.server
output batchAccountName string = batchAccount ? format(names.batchAccount, token) : ''
