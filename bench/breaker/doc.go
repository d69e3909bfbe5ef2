// Package breaker measures circuit breakers, one for each host: that of
// package transport beside tables of sony/gobreaker's and failsafe-go's. It
// has benchmarks only.
package breaker
