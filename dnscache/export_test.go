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
