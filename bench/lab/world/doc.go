// Package world is the lab's mini-internet on paper: which hosts there are,
// what is wrong with each of them, how far away it is, how long its name takes
// to resolve, which packets get lost, and which pages the crawl visits.
//
// All of it is a pure function of a [Scenario] and a seed, computed without a
// clock and without sockets. Package internet makes it real; package report
// judges a client by it.
package world
