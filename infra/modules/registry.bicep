// The registry of the worker image; pulled from by the pool's identity, never by a password.

@description('Name of the registry; unique in Azure.')
param name string

@description('Azure region.')
param location string

@description('Tags of every resource that takes tags.')
param tags object

@description('True: no access from the internet, and the Premium tier that private endpoints need.')
param privateNetwork bool

@description('True: reachable from the internet although private, while an image is built.')
param openForBuild bool

resource registry 'Microsoft.ContainerRegistry/registries@2023-07-01' = {
  name: name
  location: location
  tags: tags
  sku: {
    name: privateNetwork ? 'Premium' : 'Basic'
  }
  properties: {
    adminUserEnabled: false
    publicNetworkAccess: privateNetwork && !openForBuild ? 'Disabled' : 'Enabled'
    networkRuleBypassOptions: 'AzureServices'
  }
}

output name string = registry.name
output server string = registry.properties.loginServer
