// Package report judges the results of a client, and sets them side by side
// with those of others.
package report
