package hostwisecolly

// Held is the number of requests that h remembers.
func (h *Handle) Held() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.chains.expected) + len(h.chains.underWay) + len(h.chains.sent)
}
