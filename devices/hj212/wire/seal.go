package wire

import (
	"bytes"
	"crypto/cipher"
	"encoding/hex"
	"fmt"

	"github.com/emmansun/gmsm/sm4"

	"offsite/devices"
)

// CRC is the check of HJ 212-2017 Annex A. It is not CRC-16/Modbus: the high
// byte of the register is shifted down before each byte comes in, so that eight
// bits are all that one byte passes on to the next.
func CRC(segment []byte) uint16 { return crcOf(0xffff, segment) }

// crcOf goes on from reg with more bytes.
func crcOf(reg uint16, more []byte) uint16 {
	for _, b := range more {
		reg = crcTable[byte(reg>>8)^b]
	}
	return reg
}

// crcTable holds what eight steps of the register make of its lower byte.
var crcTable = func() (table [256]uint16) {
	for i := range table {
		table[i] = eightSteps(uint16(i))
	}
	return table
}()

// eightSteps shifts reg eight times and, for each bit that falls out, takes the
// polynomial off.
func eightSteps(reg uint16) uint16 {
	for range 8 {
		out := reg & 1
		if reg >>= 1; out == 1 {
			reg ^= 0xa001
		}
	}
	return reg
}

// AppendFrame puts segment into a frame at the end of dst. crc is that of the
// plain segment, which differs from segment where an area of it is encrypted.
func AppendFrame(dst, segment []byte, crc uint16) []byte {
	dst = fmt.Appendf(dst, "##%04d", len(segment))
	dst = append(dst, segment...)
	return fmt.Appendf(dst, "%04X\r\n", crc)
}

// modbusCRC is the check that HJ 212 is often mistaken to use.
func modbusCRC(b []byte) uint16 {
	reg := uint16(0xffff)
	for _, c := range b {
		reg = eightSteps(reg ^ uint16(c))
	}
	return reg
}

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

// sealed is a segment whose check fits, or the problem that it does not.
type sealed struct {
	plain     []byte
	crc       uint16
	encrypted bool
	dialects  []string
	problem   *devices.Problem
}

// check compares the CRC of a segment with the four digits that state it. An
// area that is no text is decrypted first where the logger has a key: one in
// 256 encrypted areas fits the CRC as it stands.
func (d *Decoder) check(segment, stated []byte) sealed {
	var digits [2]byte
	if _, err := hex.Decode(digits[:], stated); err != nil {
		return sealed{problem: devices.Invalid("crc", "bad_crc",
			"数据段之后须为 4 位十六进制 CRC", "four hexadecimal digits of CRC follow the segment")}
	}
	s := sealed{plain: segment, crc: uint16(digits[0])<<8 | uint16(digits[1])}
	c := d.cipher(segment)
	if c != nil && area(segment) != nil && !ascii(area(segment)) {
		if plain := c.open(segment); CRC(plain) == s.crc {
			s.plain, s.encrypted = plain, true
			return s
		}
	}
	if right := CRC(segment); right != s.crc {
		s.problem = wrongCRC(segment, s.crc, right)
	} else if c != nil && area(segment) != nil {
		s.dialects = append(s.dialects, "not_encrypted")
	}
	return s
}

func (d *Decoder) cipher(segment []byte) *Cipher {
	if d.Key == nil {
		return nil
	}
	head, _, _ := bytes.Cut(segment, []byte("CP=&&"))
	for field := range bytes.SplitSeq(head, []byte(";")) {
		if mn, ok := bytes.CutPrefix(field, []byte("MN=")); ok {
			return d.Key(string(mn))
		}
	}
	return nil
}
