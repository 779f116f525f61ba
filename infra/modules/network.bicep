// The private variant's network: a subnet for the app, one for the nodes, one for private endpoints.
// The app and the nodes reach the internet (telemetry, notifications) through one address of our own; nothing reaches in.

@description('Azure region.')
param location string

@description('Tags of every resource that takes tags.')
param tags object

@description('Name of the network.')
param name string

@description('First two numbers of the network\'s addresses; it takes the first /22 of them.')
param addressBase string

resource outboundAddress 'Microsoft.Network/publicIPAddresses@2024-05-01' = {
  name: '${name}-out'
  location: location
  tags: tags
  sku: {
    name: 'Standard'
  }
  properties: {
    publicIPAllocationMethod: 'Static'
  }
}

resource gateway 'Microsoft.Network/natGateways@2024-05-01' = {
  name: '${name}-nat'
  location: location
  tags: tags
  sku: {
    name: 'Standard'
  }
  properties: {
    idleTimeoutInMinutes: 10
    publicIpAddresses: [
      {
        id: outboundAddress.id
      }
    ]
  }
}

resource nothingIn 'Microsoft.Network/networkSecurityGroups@2024-05-01' = {
  name: '${name}-nothing-in'
  location: location
  tags: tags
  properties: {
    securityRules: [
      {
        name: 'deny-internet'
        properties: {
          description: 'Azure Batch with simplified node communication needs no way in.'
          direction: 'Inbound'
          access: 'Deny'
          priority: 1000
          protocol: '*'
          sourceAddressPrefix: 'Internet'
          sourcePortRange: '*'
          destinationAddressPrefix: '*'
          destinationPortRange: '*'
        }
      }
    ]
  }
}

resource network 'Microsoft.Network/virtualNetworks@2024-05-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    addressSpace: {
      addressPrefixes: [
        '${addressBase}.0.0/22'
      ]
    }
    subnets: [
      {
        name: 'app'
        properties: {
          addressPrefix: '${addressBase}.0.0/24'
          defaultOutboundAccess: false
          natGateway: {
            id: gateway.id
          }
          networkSecurityGroup: {
            id: nothingIn.id
          }
          delegations: [
            {
              name: 'flex-consumption'
              properties: {
                serviceName: 'Microsoft.App/environments'
              }
            }
          ]
        }
      }
      {
        name: 'nodes'
        properties: {
          addressPrefix: '${addressBase}.1.0/24'
          defaultOutboundAccess: false
          natGateway: {
            id: gateway.id
          }
          networkSecurityGroup: {
            id: nothingIn.id
          }
        }
      }
      {
        name: 'endpoints'
        properties: {
          addressPrefix: '${addressBase}.2.0/24'
          defaultOutboundAccess: false
          networkSecurityGroup: {
            id: nothingIn.id
          }
        }
      }
    ]
  }
}

output id string = network.id
output appSubnetId string = '${network.id}/subnets/app'
output nodesSubnetId string = '${network.id}/subnets/nodes'
output endpointsSubnetId string = '${network.id}/subnets/endpoints'
