// Package retry has retry policies for clients in front of a
// transport.Transport: what hostwise.Retryable and hostwise.RetryAt are for,
// with the usual libraries. Read its examples; nothing is exported.
package retry
