package hostwise_test

var tlsScenarios, httpScenarios, proxyScenarios []scenario
