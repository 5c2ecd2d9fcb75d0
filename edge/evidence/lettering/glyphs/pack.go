//go:build ignore

// The program pack writes the dot patterns of what names, places and times are
// written with, from a Unifont .hex file, as the package lettering reads them.
package main

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/text/encoding/simplifiedchinese"
)

// blocks of Unicode that are taken whole.
var blocks = [][2]rune{
	{0x0020, 0x007E}, {0x00A0, 0x024F}, // Latin
	{0x0370, 0x03FF}, {0x0400, 0x045F}, // Greek, Cyrillic
	{0x2010, 0x2027}, {0x2030, 0x205E}, // punctuation
	{0x2070, 0x209C}, {0x20A0, 0x20BF}, // raised and lowered digits, currencies
	{0x2100, 0x218B}, {0x2190, 0x2199}, // units, number forms, arrows
	{0x3000, 0x303F}, {0xFF01, 0xFF5E}, {0xFFE0, 0xFFE6}, // Chinese punctuation, wide forms
}

func main() {
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "pack:", err)
		os.Exit(1)
	}
}

func run(path string) error {
	patterns, err := read(path)
	if err != nil {
		return err
	}
	wanted, err := runes()
	if err != nil {
		return err
	}
	var index, dots []byte
	count, last := uint64(0), rune(0)
	for _, r := range wanted {
		p, ok := patterns[r]
		if !ok {
			continue
		}
		wide := uint64(len(p) / 32)
		index = binary.AppendUvarint(index, uint64(r-last)<<1|wide)
		dots = append(dots, p...)
		last = r
		count++
	}
	out := append(append(binary.AppendUvarint([]byte("OSL1"), count), index...), dots...)
	_, err = os.Stdout.Write(out)
	return err
}

// runes gives those that are wanted: the blocks and GB 2312-80.
func runes() ([]rune, error) {
	var list []rune
	for _, b := range blocks {
		for r := b[0]; r <= b[1]; r++ {
			list = append(list, r)
		}
	}
	for row := byte(0xA1); row <= 0xF7; row++ {
		for cell := byte(0xA1); cell <= 0xFE; cell++ {
			s, err := simplifiedchinese.GBK.NewDecoder().String(string([]byte{row, cell}))
			if err != nil {
				return nil, err
			}
			if r := []rune(s); len(r) == 1 && r[0] != 0xFFFD {
				list = append(list, r[0])
			}
		}
	}
	slices.Sort(list)
	return slices.Compact(list), nil
}

// read gives the patterns of a .hex file: lines of a code point and 16 rows of 8
// or 16 dots.
func read(path string) (map[rune][]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	patterns := map[rune][]byte{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		code, pattern, _ := strings.Cut(lines.Text(), ":")
		r, err := strconv.ParseUint(code, 16, 21)
		if err != nil {
			return nil, err
		}
		p, err := hex.DecodeString(pattern)
		if err != nil || (len(p) != 16 && len(p) != 32) {
			return nil, fmt.Errorf("%s: %d bytes: %w", code, len(p), err)
		}
		patterns[rune(r)] = p
	}
	return patterns, lines.Err()
}
