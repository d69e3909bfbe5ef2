// Package contract is what the ruler and the clients that it measures agree
// on: URLs are arguments, the environment says how to fetch them ([Settings]),
// and each is answered by a line ([Outcome]).
//
// A client written in Go gives [Main] its transport; README.md has the
// contract for all others.
package contract
