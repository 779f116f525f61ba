// The availability test: asks the health endpoint from outside every 15 minutes, with a key that opens this endpoint only.
// The postdeploy hook deploys this file, since the key exists only once the function does. Not made in a private network,
// which nothing outside can reach.

@description('Azure region.')
param location string = resourceGroup().location

@description('Tags of every resource that takes tags.')
param tags object = {}

@description('Address of the app, without a slash at its end.')
param appUrl string

@description('Name of the Application Insights component.')
param insightsName string

@description('Name of the action group that is told.')
param actionGroupName string

@description('Key of the health endpoint.')
@secure()
param healthKey string

resource insights 'Microsoft.Insights/components@2020-02-02' existing = {
  name: insightsName
}

resource actionGroup 'Microsoft.Insights/actionGroups@2023-01-01' existing = {
  name: actionGroupName
}

resource healthTest 'Microsoft.Insights/webtests@2022-06-15' = {
  name: 'health-${insightsName}'
  location: location
  tags: union(tags, { 'hidden-link:${insights.id}': 'Resource' })
  kind: 'standard'
  properties: {
    SyntheticMonitorId: 'health-${insightsName}'
    Name: 'Fleetscore health'
    Enabled: true
    Frequency: 900
    Timeout: 60
    Kind: 'standard'
    RetryEnabled: true
    Locations: [
      { Id: 'emea-nl-ams-azr' }
      { Id: 'us-va-ash-azr' }
    ]
    Request: {
      RequestUrl: '${appUrl}/api/health'
      HttpVerb: 'GET'
      ParseDependentRequests: false
      Headers: [
        { key: 'x-functions-key', value: healthKey }
      ]
    }
    ValidationRules: {
      ExpectedHttpStatusCode: 200
      SSLCheck: true
      SSLCertRemainingLifetimeCheck: 7
    }
  }
}

// Both places must fail: one that cannot reach Azure is no fault of the app.
resource unhealthy 'Microsoft.Insights/metricAlerts@2018-03-01' = {
  name: 'alert-fleetscore-unhealthy'
  location: 'global'
  tags: union(tags, { 'hidden-link:${insights.id}': 'Resource', 'hidden-link:${healthTest.id}': 'Resource' })
  properties: {
    description: 'Fleetscore: the app does not answer, did not load, or a schedule is overdue'
    enabled: true
    severity: 1
    scopes: [
      healthTest.id
      insights.id
    ]
    evaluationFrequency: 'PT5M'
    windowSize: 'PT30M'
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.WebtestLocationAvailabilityCriteria'
      webTestId: healthTest.id
      componentId: insights.id
      failedLocationCount: 2
    }
    actions: [
      {
        actionGroupId: actionGroup.id
      }
    ]
  }
}
