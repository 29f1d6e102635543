package access

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
)

// Bounds of a hash in a configuration: one that costs more would stop the door
// for its own users.
const (
	maxBcryptCost   = 14
	maxArgonMemory  = 256 << 10 // KiB
	maxArgonPasses  = 16
	maxArgonThreads = 16
)

// Costs of the hashes that Hash makes; those of argon2id are RFC 9106's second
// choice with a third of its memory.
const (
	bcryptCost   = 11
	argonMemory  = 19 << 10 // KiB
	argonPasses  = 2
	argonThreads = 1
	argonSalt    = 16 // bytes
	argonKey     = 32
)

// A verifier tells whether a password is the one that a hash was made of.
type verifier func(password []byte) bool

// isHash tells a hash from a password that is written as it is.
func isHash(s string) bool {
	for _, prefix := range []string{"$2a$", "$2b$", "$2y$", "$argon2"} {
		if strings.HasPrefix(s, prefix) {
			return true
		}
	}
	return false
}

// parseHash reads the hash of a password in the form of bcrypt's ($2b$…) or of
// argon2's reference program ($argon2id$…).
func parseHash(s string) (verifier, error) {
	if strings.HasPrefix(s, "$argon2") {
		return parseArgon(s)
	}
	hash := []byte(s)
	cost, err := bcrypt.Cost(hash)
	switch {
	case err != nil || len(hash) != 60:
		return nil, errors.New("is a broken bcrypt hash: make one with weir hash-password")
	case cost > maxBcryptCost:
		return nil, fmt.Errorf("is a bcrypt hash of cost %d, which takes too long to check: make one of cost %d at most", cost, maxBcryptCost)
	}
	return func(password []byte) bool { return bcrypt.CompareHashAndPassword(hash, password) == nil }, nil
}

// argon is a hash of argon2id.
type argon struct {
	memory, passes uint32
	threads        uint8
	salt, key      []byte
}

func parseArgon(s string) (verifier, error) {
	broken := errors.New("is a broken argon2id hash: make one with weir hash-password --argon2id")
	parts := strings.Split(s, "$") // "", argon2id, v=19, m=…,t=…,p=…, salt, key
	if len(parts) != 6 || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return nil, broken
	}
	var a argon
	var rest string
	n, _ := fmt.Sscanf(parts[3]+" end", "m=%d,t=%d,p=%d %s", &a.memory, &a.passes, &a.threads, &rest)
	var err, keyErr error
	a.salt, err = base64.RawStdEncoding.Strict().DecodeString(parts[4])
	a.key, keyErr = base64.RawStdEncoding.Strict().DecodeString(parts[5])
	if n != 4 || rest != "end" || err != nil || keyErr != nil || len(a.salt) < 8 || len(a.key) < 16 || len(a.key) > 64 || a.passes < 1 || a.threads < 1 {
		return nil, broken
	}
	if a.memory > maxArgonMemory || a.passes > maxArgonPasses || a.threads > maxArgonThreads {
		return nil, fmt.Errorf("is an argon2id hash that costs too much to check: use at most m=%d, t=%d, p=%d", maxArgonMemory, maxArgonPasses, maxArgonThreads)
	}
	return a.verify, nil
}

func (a argon) verify(password []byte) bool {
	key := argon2.IDKey(password, a.salt, a.passes, a.memory, a.threads, uint32(len(a.key)))
	return subtle.ConstantTimeCompare(key, a.key) == 1
}

// Hash makes the hash of a password for a configuration, by bcrypt, or by
// argon2id, which takes passwords of more than 72 bytes, too.
func Hash(password []byte, argon2id bool) (string, error) {
	if len(password) == 0 {
		return "", errors.New("access: hash password: it is empty")
	}
	if len(password) > maxPassword {
		return "", fmt.Errorf("access: hash password: it has %d bytes; use at most %d", len(password), maxPassword)
	}
	if argon2id {
		salt := make([]byte, argonSalt)
		if _, err := rand.Read(salt); err != nil {
			return "", err
		}
		key := argon2.IDKey(password, salt, argonPasses, argonMemory, argonThreads, argonKey)
		b64 := base64.RawStdEncoding
		return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, argonMemory, argonPasses, argonThreads,
			b64.EncodeToString(salt), b64.EncodeToString(key)), nil
	}
	hash, err := bcrypt.GenerateFromPassword(password, bcryptCost)
	if errors.Is(err, bcrypt.ErrPasswordTooLong) {
		return "", errors.New("access: hash password: bcrypt takes at most 72 bytes: use argon2id")
	}
	return string(hash), err
}
