package cimi

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"weir/jobs"
)

// A User may log in by a name and a password, or by them as key and secret.
type User struct {
	Name, Password string
	Admin          bool // may add jobs, and see and change all of them
}

// cookieName is what SlipStream's clients keep.
const cookieName = "com.sixsq.slipstream.cookie"

// sessionTime is how long a cookie is good; clients log in again by themselves.
const sessionTime = 24 * time.Hour

// sessions make cookies that need no memory: NAME.EXPIRY.MAC, the MAC by a key
// of this process.
type sessions struct {
	users map[string]User
	key   [32]byte
}

func newSessions(users []User) sessions {
	s := sessions{users: map[string]User{}}
	for _, u := range users {
		s.users[u.Name] = u
	}
	rand.Read(s.key[:]) // never fails
	return s
}

// A caller is who sent a request.
type caller struct {
	name  string
	admin bool
}

func (c caller) owner() jobs.Principal {
	if c.admin {
		return jobs.Principal{Principal: "ADMIN", Type: "ROLE"}
	}
	return jobs.Principal{Principal: c.name, Type: "USER"}
}

// is tells whether the caller is, or has the role of, a principal.
func (c caller) is(p jobs.Principal) bool {
	if p.Type == "ROLE" {
		return p.Principal == "USER" || p.Principal == "ANON" || p.Principal == "ADMIN" && c.admin
	}
	return p.Principal == c.name
}

// sees tells whether the caller may read a job.
func (c caller) sees(j *jobs.Job) bool {
	return c.may(j, func(right string) bool { return true })
}

// changes tells whether the caller may edit a job.
func (c caller) changes(j *jobs.Job) bool {
	return c.may(j, func(right string) bool { return right == "ALL" || right == "MODIFY" || right == "MANAGE" })
}

func (c caller) may(j *jobs.Job, enough func(right string) bool) bool {
	if c.admin {
		return true
	}
	if j.ACL == nil {
		return false
	}
	if c.is(j.ACL.Owner) {
		return true
	}
	for _, r := range j.ACL.Rules {
		if c.is(r.Principal) && enough(r.Right) {
			return true
		}
	}
	return false
}

// caller finds who has a cookie.
func (s *sessions) caller(cookies string) (caller, bool) {
	if len(s.users) == 0 {
		return caller{name: "anybody", admin: true}, true
	}
	list, err := http.ParseCookie(cookies)
	if err != nil {
		return caller{}, false
	}
	for _, c := range list {
		if c.Name != cookieName && c.Name != kebabCookie {
			continue
		}
		if u, ok := s.check(c.Value); ok {
			return caller{name: u.Name, admin: u.Admin}, true
		}
	}
	return caller{}, false
}

func (s *sessions) check(token string) (User, bool) {
	body, mac, _ := cutLast(token)
	name64, expiry, ok := cutLast(body)
	sum, err := base64.RawURLEncoding.DecodeString(mac)
	if !ok || err != nil || !hmac.Equal(sum, s.mac(body)) {
		return User{}, false
	}
	until, err := strconv.ParseInt(expiry, 10, 64)
	name, err2 := base64.RawURLEncoding.DecodeString(name64)
	if err != nil || err2 != nil || time.Now().Unix() > until {
		return User{}, false
	}
	u, ok := s.users[string(name)]
	return u, ok
}

func cutLast(s string) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, '.')
	if i < 0 {
		return "", "", false
	}
	return s[:i], s[i+1:], true
}

func (s *sessions) mac(body string) []byte {
	h := hmac.New(sha256.New, s.key[:])
	h.Write([]byte(body))
	return h.Sum(nil)
}

func (s *sessions) token(name string) string {
	body := base64.RawURLEncoding.EncodeToString([]byte(name)) + "." + strconv.FormatInt(time.Now().Add(sessionTime).Unix(), 10)
	return body + "." + base64.RawURLEncoding.EncodeToString(s.mac(body))
}

// A template is how SlipStream's clients send credentials.
type template struct {
	Template *credentials `json:"sessionTemplate"`
	Later    *credentials `json:"template"` // of the engine that came later
}

// credentials are a user's name and password, or an API key and its secret.
type credentials struct {
	Username string `json:"username"`
	Password string `json:"password"`
	Key      string `json:"key"`
	Secret   string `json:"secret"`
}

// session answers below /api/session: log in by POST, log out by DELETE.
func (s *Service) session(r Request, rest string) (Response, error) {
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead
	switch {
	case rest == "" && r.Method == http.MethodPost:
		return s.login(r)
	case rest != "" && r.Method == http.MethodDelete:
		a, err := done(map[string]any{"status": 200, "message": "session/" + rest + " deleted", "resource-id": "session/" + rest})
		a.SetCookie = cookieName + "=; Path=/; HttpOnly; Max-Age=0"
		return a, err
	case rest == "" && (reads || r.Method == http.MethodPut):
		return s.listSessions(r)
	case rest == "":
		return Response{}, only(r, http.MethodGet, http.MethodHead, http.MethodPut, http.MethodPost)
	case reads:
		if who, ok := s.sessions.caller(r.Cookie); ok && rest == who.name {
			return done(who.session())
		}
		return Response{}, &refusal{status: 404, message: "session/" + rest + " not found"}
	}
	return Response{}, only(r, http.MethodGet, http.MethodHead, http.MethodDelete)
}

func (c caller) session() map[string]any {
	id := "session/" + c.name
	return map[string]any{"id": id, "resourceURI": "http://sixsq.com/slipstream/1/Session", "username": c.name,
		"operations": []jobs.Operation{{Rel: "delete", Href: id}}}
}

func (s *Service) listSessions(r Request) (Response, error) {
	list := []map[string]any{}
	if who, ok := s.sessions.caller(r.Cookie); ok {
		list = append(list, who.session())
	}
	return done(map[string]any{"count": len(list), "id": "session", "resourceURI": "http://sixsq.com/slipstream/1/SessionCollection",
		"operations": []jobs.Operation{{Rel: "add", Href: "session"}}, "sessions": list})
}

func (s *Service) login(r Request) (Response, error) {
	var t template
	if err := jsonBody(r); err != nil {
		return Response{}, err
	}
	if err := json.Unmarshal(r.Body, &t); err != nil {
		return Response{}, &refusal{status: 400, message: "the session is no JSON: " + err.Error(), id: "session"}
	}
	sent, cookie := credentials{}, cookieName
	if t.Template != nil {
		sent = *t.Template
	} else if t.Later != nil {
		sent, cookie = *t.Later, kebabCookie
	}
	name, password := sent.Username, sent.Password
	if name == "" {
		name, password = sent.Key, sent.Secret
	}
	u, known := s.sessions.users[name]
	right := subtle.ConstantTimeCompare([]byte(u.Password), []byte(password)) == 1
	if len(s.sessions.users) > 0 && (!known || !right) {
		return Response{}, &refusal{status: 403, message: "the user's name or password is wrong", id: "session"}
	}
	a := created("session/" + rand.Text())
	a.SetCookie = cookie + "=" + s.sessions.token(name) + "; Path=/; HttpOnly; SameSite=Strict"
	return a, nil
}
