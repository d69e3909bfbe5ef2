// Package result reads off the packets of a run what the client did: which
// addresses it tried, when, and with what success. All times are milliseconds
// since the run's first DNS query.
package result
