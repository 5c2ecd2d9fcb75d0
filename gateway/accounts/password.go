package accounts

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"
	"unicode"

	"golang.org/x/crypto/argon2"

	"offsite/devices"
)

// argon2id as OWASP's password storage cheat sheet gives it for 19 MiB.
const (
	hashMemory = 19 * 1024 // KiB
	hashTime   = 2
	hashLanes  = 1
	hashLength = 32
	saltLength = 16
)

// hash makes the PHC form of a password. At most two run at once.
func (a *Accounts) hash(ctx context.Context, password string) (string, error) {
	if err := a.hashing.Acquire(ctx, 1); err != nil {
		return "", fmt.Errorf("wait to hash a password: %w", err)
	}
	defer a.hashing.Release(1)
	salt := make([]byte, saltLength)
	_, _ = rand.Read(salt) // never fails
	key := argon2.IDKey([]byte(password), salt, hashTime, hashMemory, hashLanes, hashLength)
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, hashMemory, hashTime, hashLanes,
		base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(key)), nil
}

// verify compares a password with its PHC form. An empty or foreign form takes
// as long as a real one and fits nothing, so that time tells no names.
func (a *Accounts) verify(ctx context.Context, phc, password string) (bool, error) {
	if err := a.hashing.Acquire(ctx, 1); err != nil {
		return false, fmt.Errorf("wait to check a password: %w", err)
	}
	defer a.hashing.Release(1)
	var version, memory, time, lanes uint32
	salt, want := make([]byte, saltLength), []byte(nil)
	parts := strings.Split(phc, "$")
	known := false
	if len(parts) == 6 && parts[1] == "argon2id" {
		_, errV := fmt.Sscanf(parts[2], "v=%d", &version)
		_, errP := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &memory, &time, &lanes)
		s, errS := base64.RawStdEncoding.DecodeString(parts[4])
		w, errW := base64.RawStdEncoding.DecodeString(parts[5])
		known = errV == nil && errP == nil && errS == nil && errW == nil && version == argon2.Version &&
			memory > 0 && memory <= 1<<20 && time > 0 && time <= 64 && lanes > 0 && lanes <= 16 && len(w) >= 16
		if known {
			salt, want = s, w
		}
	}
	if !known {
		memory, time, lanes, want = hashMemory, hashTime, hashLanes, make([]byte, hashLength)
	}
	key := argon2.IDKey([]byte(password), salt, time, memory, uint8(lanes), uint32(len(want)))
	return subtle.ConstantTimeCompare(key, want) == 1 && known, nil
}

// checkPassword says what a password lacks.
func checkPassword(field, password, id string) *devices.Problem {
	runes := []rune(password)
	if len(runes) < 12 || len(password) > 256 {
		return devices.Invalid(field, "password_length", "口令须为 12 至 256 个字符", "a password has 12 to 256 characters")
	}
	var lower, upper, digit, other int
	for _, r := range runes {
		switch {
		case unicode.IsLower(r):
			lower = 1
		case unicode.IsUpper(r):
			upper = 1
		case unicode.IsDigit(r):
			digit = 1
		default:
			other = 1
		}
	}
	if lower+upper+digit+other < 3 {
		return devices.Invalid(field, "password_simple", "口令须含小写字母、大写字母、数字、其他字符中的至少三类", "use at least three of: small letters, capital letters, digits, others")
	}
	if len(id) >= 4 && strings.Contains(strings.ToLower(password), id) {
		return devices.Invalid(field, "password_has_name", "口令不得包含登录名", "do not put the sign-in name into the password")
	}
	return nil
}
