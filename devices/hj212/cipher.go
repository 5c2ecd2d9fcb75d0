package hj212

import (
	"bytes"
	"crypto/cipher"
	"encoding/hex"

	"github.com/emmansun/gmsm/sm4"

	"offsite/devices"
)

// Cipher encrypts the data area of HJ 212-2025: SM4 in ECB mode over its whole
// blocks of 16 bytes. The bytes behind the last whole block stay as they are,
// so that lengths do not change. ECB shows equal blocks as equal and nothing
// protects the header; offer TLS where it matters.
type Cipher struct{ block cipher.Block }

// NewCipher reads a key of 16 characters or 32 hexadecimal digits.
func NewCipher(key devices.Secret) (*Cipher, error) {
	raw := []byte(key.Reveal())
	if len(raw) == 2*sm4.BlockSize {
		if b, err := hex.DecodeString(key.Reveal()); err == nil {
			raw = b
		}
	}
	if len(raw) != sm4.BlockSize {
		return nil, devices.Invalid("hj212.sm4_key", "bad_key", "SM4 密钥须为 16 个字符或 32 位十六进制数", "an SM4 key has 16 characters or 32 hexadecimal digits")
	}
	block, err := sm4.NewCipher(raw)
	if err != nil {
		return nil, err
	}
	return &Cipher{block}, nil
}

// area gives the data area of a segment, between "CP=&&" and the last "&&"; nil
// where it holds no whole block.
func area(segment []byte) []byte {
	at := bytes.Index(segment, []byte("CP=&&"))
	if at < 0 || len(segment) < at+len("CP=&&")+sm4.BlockSize+2 {
		return nil
	}
	return segment[at+len("CP=&&") : len(segment)-2]
}

// seal encrypts the area of a segment in place.
func (c *Cipher) seal(segment []byte) {
	for a := area(segment); len(a) >= sm4.BlockSize; a = a[sm4.BlockSize:] {
		c.block.Encrypt(a, a)
	}
}

// open gives the segment with its area decrypted.
func (c *Cipher) open(segment []byte) []byte {
	plain := bytes.Clone(segment)
	for a := area(plain); len(a) >= sm4.BlockSize; a = a[sm4.BlockSize:] {
		c.block.Decrypt(a, a)
	}
	return plain
}
