// Package dns measures lookups: cached ones, cold ones, and many at a time,
// hostwise's dnscache beside other resolvers. It has benchmarks only.
package dns
