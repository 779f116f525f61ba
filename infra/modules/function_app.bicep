// The function app on Flex Consumption. Every connection is an address and an identity; no setting holds a secret.

@description('Azure region.')
param location string

@description('Tags of every resource that takes tags.')
param tags object

@description('Name of the app; unique in Azure.')
param name string

@description('Name of its plan; a Flex Consumption plan carries one app.')
param planName string

@description('Version of Python.')
param pythonVersion string

@description('Memory of an instance in megabytes; processor and network grow with it.')
param instanceMemoryMB int

@description('Most instances that the platform may start.')
param maximumInstanceCount int

@description('Instances kept ready for Durable functions; 0: none, and the first step of a run waits for a cold start.')
param alwaysReadyDurable int

@description('Resource id of the app\'s identity.')
param identityId string

@description('Client id of the app\'s identity.')
param identityClientId string

@description('Name of the storage account of the host and the Durable hub.')
param hubStorageName string

@description('Container that holds the deployed package.')
param packageContainer string

@description('Name of the Application Insights component.')
param insightsName string

@description('Fleetscore\'s own settings, by name.')
param settings object

@description('Activities that one instance runs at once.')
param maximumActivities int

@description('Where notifications are posted; empty: nowhere.')
@secure()
param webhookUrl string

@description('True: App Service authentication stands in front of the app and signs people in; requests without an identity still reach the app, which asks them for a key.')
param signInEnabled bool

@description('Issuer of tokens.')
param authIssuer string

@description('Audiences of tokens, separated by commas; the first is the client id of the app registration.')
param authAudience string

@description('Subnet that the app sends its traffic through; empty: no network of its own.')
param subnetId string

@description('True: the app is reachable through its private endpoint only.')
param privateNetwork bool

resource hub 'Microsoft.Storage/storageAccounts@2024-01-01' existing = {
  name: hubStorageName
}

resource insights 'Microsoft.Insights/components@2020-02-02' existing = {
  name: insightsName
}

resource plan 'Microsoft.Web/serverfarms@2024-04-01' = {
  name: planName
  location: location
  tags: tags
  kind: 'functionapp'
  sku: {
    name: 'FC1'
    tier: 'FlexConsumption'
  }
  properties: {
    reserved: true
  }
}

resource app 'Microsoft.Web/sites@2024-04-01' = {
  name: name
  location: location
  kind: 'functionapp,linux'
  tags: union(tags, { 'azd-service-name': 'app' })
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identityId}': {}
    }
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    publicNetworkAccess: privateNetwork ? 'Disabled' : 'Enabled'
    virtualNetworkSubnetId: empty(subnetId) ? null : subnetId
    siteConfig: {
      minTlsVersion: '1.2'
      http20Enabled: true
    }
    functionAppConfig: {
      deployment: {
        storage: {
          type: 'blobContainer'
          value: '${hub.properties.primaryEndpoints.blob}${packageContainer}'
          authentication: {
            type: 'UserAssignedIdentity'
            userAssignedIdentityResourceId: identityId
          }
        }
      }
      scaleAndConcurrency: {
        instanceMemoryMB: instanceMemoryMB
        maximumInstanceCount: maximumInstanceCount
        alwaysReady: alwaysReadyDurable > 0 ? [ { name: 'durable', instanceCount: alwaysReadyDurable } ] : []
      }
      runtime: {
        name: 'python'
        version: pythonVersion
      }
    }
  }
}

var platformSettings = {
  AzureWebJobsStorage__credential: 'managedidentity'
  AzureWebJobsStorage__clientId: identityClientId
  AzureWebJobsStorage__blobServiceUri: hub.properties.primaryEndpoints.blob
  AzureWebJobsStorage__queueServiceUri: hub.properties.primaryEndpoints.queue
  AzureWebJobsStorage__tableServiceUri: hub.properties.primaryEndpoints.table
  APPLICATIONINSIGHTS_CONNECTION_STRING: insights.properties.ConnectionString
  APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${identityClientId};Authorization=AAD'
  AzureFunctionsJobHost__extensions__durableTask__maxConcurrentActivityFunctions: string(maximumActivities)
  FLEETSCORE_WEBHOOK_URL: webhookUrl
  // Keeps memory for the next pass over columns; the same as fleetscore/process_environment.py says for every other process.
  GLIBC_TUNABLES: 'glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=33554432:glibc.malloc.trim_threshold=268435456:glibc.malloc.top_pad=67108864'
}

resource appSettings 'Microsoft.Web/sites/config@2024-04-01' = {
  parent: app
  name: 'appsettings'
  properties: union(platformSettings, settings)
}

// Without a secret of the registration the browser brings an ID token: switch ID tokens on in the registration.
resource signIn 'Microsoft.Web/sites/config@2024-04-01' = if (signInEnabled) {
  parent: app
  name: 'authsettingsV2'
  properties: {
    platform: {
      enabled: true
    }
    globalValidation: {
      requireAuthentication: false
      unauthenticatedClientAction: 'AllowAnonymous'
    }
    identityProviders: {
      azureActiveDirectory: {
        enabled: true
        registration: {
          openIdIssuer: authIssuer
          clientId: split(authAudience, ',')[0]
        }
        validation: {
          allowedAudiences: split(authAudience, ',')
        }
      }
    }
    httpSettings: {
      requireHttps: true
    }
  }
}

resource noFtpPassword 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2024-04-01' = {
  parent: app
  name: 'ftp'
  properties: {
    allow: false
  }
}

resource noScmPassword 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2024-04-01' = {
  parent: app
  name: 'scm'
  properties: {
    allow: false
  }
}

output id string = app.id
output url string = 'https://${app.properties.defaultHostName}'
