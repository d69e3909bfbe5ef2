// Package crawl runs one client over one [Plan] and measures it.
//
// A client is anything that fetches a URL. One that is an [http.RoundTripper]
// takes a few lines:
//
//	func mine(c crawl.Config) (crawl.Client, error) {
//		rt := ... // with c.BaseTransport() below it
//		return crawl.HTTP(rt, c, classify, rt.Close), nil
//	}
//
// The lab's own clients are in package clients. A client that must stay out of
// this module is a program of its own, made with [Main].
package crawl
