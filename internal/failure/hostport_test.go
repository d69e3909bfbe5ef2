package failure

import "testing"

func TestEndsInNumber(t *testing.T) {
	for name, want := range map[string]bool{
		"0": true, "127": true, "0177": true, "0x7f": true, "0X7F": true, "0x": true, "08": true, "127.1": true, "a.0X7F": true, "127.0.0.1.": true,
		"a": false, "1a": false, "0y7f": false, "0x7g": false, "x7f": false, "1-2": false, "-1": false, "1.a": false, "": false, ".": false, "a.": false,
	} {
		if got := EndsInNumber(name); got != want {
			t.Errorf("EndsInNumber(%q) = %v, want %v", name, got, want)
		}
	}
}
