// Command lab measures crawler clients on the same mini-internet: the same
// hosts, delays, losses and dead servers for each, and the same pages to fetch.
//
//	go run ./lab                                            # the default clients, scenario web, seed 1
//	go run ./lab -clients floor,stock,hostwise -scenario web,nsdeath -seed 1,2,3 -json out.json
//	go run ./lab -clients list
//	go run ./lab -scenario web -plan                        # what the world holds; runs nothing
//
// It runs on Linux as root; README.md says how it works and what its figures
// mean.
package main
