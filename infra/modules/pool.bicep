// The pool that runs the worker image: zero nodes at rest, Spot first, a floor of dedicated nodes while there is work.

@description('Name of the Batch account.')
param accountName string

@description('Name of the pool: changes with everything that Batch cannot change in a pool that has nodes.')
param name string

@description('Tags of every resource that takes tags.')
param tags object

@description('Size of the nodes.')
param vmSize string

@description('Tasks that a node runs at once.')
param taskSlotsPerNode int

@description('Size of the system disk in gigabytes; it holds the images too.')
param osDiskGb int

@description('Worker image with its digest; pulled when a node boots.')
param image string

@description('Address of the registry that the image lies in.')
param registryServer string

@description('Resource id of the identity that the nodes carry.')
param identityId string

@description('Autoscale formula, parameters filled in.')
param autoscaleFormula string

@description('Subnet of the nodes; empty: the service\'s own network, with public addresses.')
param subnetId string

var ownNetwork = {
  subnetId: subnetId
  publicIPAddressConfiguration: {
    provision: 'NoPublicIPAddresses'
  }
}

resource account 'Microsoft.Batch/batchAccounts@2025-06-01' existing = {
  name: accountName
}

resource pool 'Microsoft.Batch/batchAccounts/pools@2025-06-01' = {
  parent: account
  name: name
  tags: tags
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identityId}': {}
    }
  }
  properties: {
    displayName: 'Fleetscore workers'
    vmSize: vmSize
    taskSlotsPerNode: taskSlotsPerNode
    taskSchedulingPolicy: {
      nodeFillType: 'Pack'
    }
    interNodeCommunication: 'Disabled'
    deploymentConfiguration: {
      virtualMachineConfiguration: {
        imageReference: {
          publisher: 'microsoft-dsvm'
          offer: 'ubuntu-hpc'
          sku: '2404'
          version: 'latest'
        }
        nodeAgentSkuId: 'batch.node.ubuntu 24.04'
        osDisk: {
          diskSizeGB: osDiskGb
        }
        nodePlacementConfiguration: {
          policy: 'Regional'
        }
        containerConfiguration: {
          type: 'DockerCompatible'
          containerImageNames: [
            image
          ]
          containerRegistries: [
            {
              registryServer: registryServer
              identityReference: {
                resourceId: identityId
              }
            }
          ]
        }
      }
    }
    networkConfiguration: empty(subnetId) ? null : ownNetwork
    scaleSettings: {
      autoScale: {
        evaluationInterval: 'PT5M'
        formula: autoscaleFormula
      }
    }
  }
}

output name string = pool.name
