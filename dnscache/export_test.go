package dnscache

// Waiting is the number of queries that wait for room on a socket.
func (r *Resolver) Waiting() (n int) {
	for _, s := range r.conf.Load().servers {
		s.mu.Lock()
		n += len(s.pool.waiting)
		s.mu.Unlock()
	}
	return n
}

// UnderWay is the number of questions on their way, and of times at which
// something is to be done about one.
func (r *Resolver) UnderWay() (flights, due int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.flights), len(r.schedule)
}
