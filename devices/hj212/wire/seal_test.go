package wire

import (
	"encoding/hex"
	"testing"

	"offsite/devices"
)

// TestSM4 is example 1 of GB/T 32907-2016, Annex A.
func TestSM4(t *testing.T) {
	const plain, want = "0123456789abcdeffedcba9876543210", "681edf34d206965e86b3e94f536e4246"
	c, err := NewCipher(devices.Secret(plain)) // the key of the example is its plaintext
	if err != nil {
		t.Fatal(err)
	}
	block, err := hex.DecodeString(plain)
	if err != nil {
		t.Fatal(err)
	}
	segment := append(append([]byte("ST=32;CN=2011;CP=&&"), block...), "&&"...)
	c.seal(segment)
	if got := hex.EncodeToString(area(segment)); got != want {
		t.Errorf("encrypted %s, want %s", got, want)
	}
	if got := hex.EncodeToString(area(c.open(segment))); got != plain {
		t.Errorf("decrypted %s, want %s", got, plain)
	}
}

func TestEncryptedFramesComeBack(t *testing.T) {
	c, err := NewCipher("0123456789abcdef")
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{0, 1, 15, 16, 17, 31, 32, 33, 400} {
		value := make([]byte, size)
		for i := range value {
			value[i] = '0' + byte(i%10)
		}
		p := Packet{QN: "20260102030405678", ST: "32", CN: "2011", PW: "123456", MN: "M1", Flag: 9, CP: []Item{{{"a-Info", string(value)}}}}
		d := Decoder{Key: func(string) *Cipher { return c }}
		_, _ = d.Write(p.Append(nil, c))
		f, ok := d.Next()
		if !ok || f.Refused != nil || f.Packet.Value("a-Info") != string(value) || f.Packet.Encrypted != (size+len("a-Info=") >= 16) {
			t.Errorf("%d bytes: %+v", size, f)
		}
	}
}

func TestCodesOf2005(t *testing.T) {
	if len(codes2017) != 93 {
		t.Errorf("%d codes", len(codes2017))
	}
	for old, want := range map[string]string{ // those that the trade's list names
		"011": "w01018", "060": "w21003", "02": "a21026", "01": "a34013", "B01": "w00000", "b01": "w00000", "S08": "a01013", "101": "w21011", "065": "w21001", "001": "w01001", "w01018": "w01018", "999": "999",
	} {
		if got := Canonical(old); got != want {
			t.Errorf("%s is %s, want %s", old, got, want)
		}
	}
	known := map[string]bool{}
	for _, code := range codes2017 {
		if known[code] || len(code) != 6 {
			t.Errorf("code %q stands there twice or is none", code)
		}
		known[code] = true
	}
}
