// Command wire is a ruler for what a client does on the wire with A and AAAA:
// it runs the client in a network of its own, breaks that network in defined
// ways, and reads the answer off the packets.
//
//	go run ./wire                                                    # hostwise: the goal table; exit 1 if a goal falls short
//	go run ./wire -client ./mine -scenario '^(v6|aaaa)' -reps 1 -v   # another client, some scenarios, each run's time line
//	go run ./wire -sweep cad:0:400:5                                 # IPv6 slower and slower: who wins?
//	go run ./wire -compare results/*.json                            # clients side by side
//	go run ./wire -list                                              # the scenarios
//
// It runs on Linux as root; README.md says how it works and what a client has
// to do.
package main
