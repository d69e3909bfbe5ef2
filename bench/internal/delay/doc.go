// Package delay holds packets back until they are due.
package delay
