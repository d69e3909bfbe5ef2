package hostwise_test

var connectScenarios, tlsScenarios, httpScenarios, proxyScenarios []scenario
