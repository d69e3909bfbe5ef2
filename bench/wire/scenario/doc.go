// Package scenario is what the ruler does to a client: how nameservers answer,
// what becomes of packets on the way to each address, and what is fetched.
package scenario
