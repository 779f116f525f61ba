// Who is told, and when. Every rule watches from outside the app, so that it fires for a dead app too.

@description('Azure region.')
param location string

@description('Tags of every resource that takes tags.')
param tags object

@description('Name of the action group.')
param actionGroupName string

@description('Address that gets the mails; empty: alerts are only shown in the portal.')
param alertEmail string

@description('Workspace that the rules read.')
param workspaceId string

@description('Hours without a tick of any timer after which the schedule\'s silence is an alert.')
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
param silenceHours int

@description('True: there is a Batch account whose log can be watched.')
param batchEnabled bool

@description('Name of the budget.')
param budgetName string

@description('Budget of the resource group per month, in the subscription\'s currency; 0: none.')
@minValue(0)
param monthlyBudget int

@description('First day of the month that the budget starts in; empty: this month. Keep it once it is set.')
param budgetStart string

@description('Not to be set: the first day of this month.')
param firstOfMonth string = utcNow('yyyy-MM-01')

var runFailedQuery = '''
AppTraces
| where Message startswith 'run_ended '
| where Message has 'state=failed' or Message has 'state=unpublished'
| parse Message with * 'workload=' workload ' ' *
| project TimeGenerated, workload, Message
'''
// An instance that the platform drains ends its worker with exit code 143, and the invocations that it held are repeated.
var invocationFailedQuery = '''
let drained = AppExceptions
| where OuterMessage has 'exited with code 143' or InnermostMessage has 'exited with code 143'
| distinct OperationId;
AppRequests
| where Success == false and ResultCode == '0'
| where OperationId !in (drained)
| project TimeGenerated, Name, OperationId
'''
// Without `by`, summarize gives one row even when nothing came in: that row is the alert.
var scheduleSilentQuery = '''
AppRequests
| where (Name == 'start_due_windows' or Name endswith '_timer') and Success
| summarize ticks = count()
| where ticks == 0
| project TimeGenerated = now(), ticks
'''
// The watchdog writes this line at every tick for as long as the window is overdue, by the workload's own setting `overdue_s`.
var windowOverdueQuery = '''
AppTraces
| where Message startswith 'window_overdue '
| parse Message with * 'workload=' workload ' window=' window ' ' *
| project TimeGenerated, workload, window
'''
// This table is not held back by the cap, all that the other rules read is.
var logCapQuery = '''
_LogOperation
| where Category =~ 'Ingestion' and Detail contains 'OverQuota'
| project TimeGenerated, Detail
'''
var poisonQuery = '''
StorageQueueLogs
| where OperationName == 'PutMessage' and StatusText == 'Success'
| where parse_url(Uri).Path has '-poison'
| project TimeGenerated, Uri
'''
var resizeFailedQuery = '''
AzureDiagnostics
| where ResourceProvider == 'MICROSOFT.BATCH' and OperationName startswith 'PoolResizeComplete'
| extend result = column_ifexists('resultCode_s', ''), why = column_ifexists('resultMessage_s', '')
| where result !in ('', 'Success')
| project TimeGenerated, result, why
'''

// One alert per workload: the rules name a column, never a workload, so that a new workload needs no deployment.
var byWorkload = [
  {
    name: 'workload'
    operator: 'Include'
    values: [
      '*'
    ]
  }
]

var appRules = [
  {
    name: 'run-failed'
    title: 'Fleetscore: a run failed, its window is not published'
    query: runFailedQuery
    dimensions: byWorkload
    severity: 1
    every: 'PT5M'
    window: 'PT15M'
  }
  {
    name: 'window-overdue'
    title: 'Fleetscore: a window is overdue'
    query: windowOverdueQuery
    dimensions: byWorkload
    severity: 1
    every: 'PT15M'
    window: 'PT30M'
  }
  {
    name: 'invocation-failed'
    title: 'Fleetscore: a function ended with an error that it did not expect'
    query: invocationFailedQuery
    dimensions: []
    severity: 2
    every: 'PT5M'
    window: 'PT15M'
  }
  {
    name: 'schedule-silent'
    title: 'Fleetscore: no timer has ticked; no window will be started'
    query: scheduleSilentQuery
    dimensions: []
    severity: 1
    every: 'PT30M'
    window: 'PT${silenceHours}H'
  }
  {
    name: 'log-cap-reached'
    title: 'Fleetscore: the daily limit of logs is reached; until it is reset the other alerts see nothing'
    query: logCapQuery
    dimensions: []
    severity: 1
    every: 'PT30M'
    window: 'PT1H'
  }
  {
    name: 'poison-message'
    title: 'Fleetscore: a completion message could not be read and was put aside'
    query: poisonQuery
    dimensions: []
    severity: 2
    every: 'PT5M'
    window: 'PT15M'
  }
]
var batchRules = [
  {
    name: 'pool-resize-failed'
    title: 'Fleetscore: the pool did not get the nodes that it asked for'
    query: resizeFailedQuery
    dimensions: []
    severity: 2
    every: 'PT5M'
    window: 'PT15M'
  }
]
var rules = concat(appRules, batchEnabled ? batchRules : [])

var mail = [
  {
    name: 'operators'
    emailAddress: alertEmail
    useCommonAlertSchema: true
  }
]

resource actionGroup 'Microsoft.Insights/actionGroups@2023-01-01' = {
  name: actionGroupName
  location: 'global'
  tags: tags
  properties: {
    groupShortName: 'fleetscore'
    enabled: true
    emailReceivers: empty(alertEmail) ? [] : mail
  }
}

resource alertRules 'Microsoft.Insights/scheduledQueryRules@2023-03-15-preview' = [for rule in rules: {
  name: 'alert-fleetscore-${rule.name}'
  location: location
  tags: tags
  kind: 'LogAlert'
  properties: {
    displayName: rule.title
    enabled: true
    severity: rule.severity
    scopes: [
      workspaceId
    ]
    evaluationFrequency: rule.every
    windowSize: rule.window
    skipQueryValidation: true
    autoMitigate: false
    criteria: {
      allOf: [
        {
          query: rule.query
          dimensions: rule.dimensions
          timeAggregation: 'Count'
          operator: 'GreaterThan'
          threshold: 0
          failingPeriods: {
            numberOfEvaluationPeriods: 1
            minFailingPeriodsToAlert: 1
          }
        }
      ]
    }
    actions: {
      actionGroups: [
        actionGroup.id
      ]
    }
  }
}]

resource budget 'Microsoft.Consumption/budgets@2023-11-01' = if (monthlyBudget > 0) {
  name: budgetName
  properties: {
    category: 'Cost'
    amount: monthlyBudget
    timeGrain: 'Monthly'
    timePeriod: {
      startDate: empty(budgetStart) ? firstOfMonth : budgetStart
    }
    notifications: {
      spent80: {
        enabled: true
        operator: 'GreaterThan'
        threshold: 80
        thresholdType: 'Actual'
        contactEmails: []
        contactGroups: [
          actionGroup.id
        ]
      }
      forecast100: {
        enabled: true
        operator: 'GreaterThan'
        threshold: 100
        thresholdType: 'Forecasted'
        contactEmails: []
        contactGroups: [
          actionGroup.id
        ]
      }
    }
  }
}
