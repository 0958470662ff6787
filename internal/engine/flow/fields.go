package flow

import (
	"net/textproto"

	"stoa/internal/engine/deadline"
	"stoa/internal/engine/limit"
	"stoa/internal/engine/retry"
	"stoa/internal/engine/route"
)

// PrivateCookies begins the names of cookies that are Stoa's own. Cookies know no port
// (RFC 6265, section 8.5): a browser that is logged in to the dashboard of this host
// sends that session to the gateway too, and no service may have it.
const PrivateCookies = "stoa_session_"

// DropsRequest says whether fields of this name, in any case, are taken out of the request.
func (x *Exchange) DropsRequest(name string) bool {
	if x.grpcTold && len(name) == len(deadline.GRPCField) && textproto.CanonicalMIMEHeaderKey(name) == "Grpc-Timeout" {
		return x.deadline != deadline.Never
	}
	return x.edits(false).Drops(name)
}

// EditsRequest says whether DropsRequest may say so of any.
func (x *Exchange) EditsRequest() bool { return x.grpcTold || x.edits(false) != nil }

// AppendRequest appends the lines that a request bears besides those that came: how long its
// callee has, how important it is, and what the rule adds. It is asked for each attempt,
// since the time that is left shrinks; Begun was called.
func (x *Exchange) AppendRequest(out []byte) []byte {
	if x.deadline != deadline.Never {
		left, _ := deadline.Left(x.deadline, max(x.began, x.now), 0)
		out = append(out, deadline.StoaField+": "...)
		out = deadline.AppendMillis(out, left)
		out = append(out, "\r\n"...)
		if x.grpcTold {
			out = append(out, deadline.GRPCField+": "...)
			out = deadline.AppendGRPC(out, left)
			out = append(out, "\r\n"...)
		}
	}
	if x.priority != limit.Normal {
		out = append(append(append(out, PriorityField+": "...), x.priority.String()...), "\r\n"...)
	}
	if e := x.edits(false); e != nil {
		for i := range e.Set {
			out = appendLine(out, e.Set[i].Name, e.Set[i].Value)
		}
		for i := range e.Add {
			out = appendLine(out, e.Add[i].Name, e.Add[i].Value)
		}
	}
	return out
}

func appendLine(out []byte, name, value string) []byte {
	return append(append(append(append(out, name...), ": "...), value...), "\r\n"...)
}

// EditRequest does to a header of net/http what DropsRequest and AppendRequest say, but for
// the time: that is for TellTime, with each attempt.
func (x *Exchange) EditRequest(h map[string][]string) {
	if x.priority != limit.Normal {
		h[PriorityField] = []string{x.priority.String()}
	}
	x.edit(h, false)
}

// TellTime says in h how long the callee has. What it takes to connect is not taken off.
func (x *Exchange) TellTime(h map[string][]string) {
	if x.deadline == deadline.Never {
		return
	}
	left, _ := deadline.Left(x.deadline, Now(), 0)
	h[deadline.StoaField] = []string{string(deadline.AppendMillis(nil, left))}
	if x.grpcTold {
		h["Grpc-Timeout"] = []string{string(deadline.AppendGRPC(nil, left))}
	}
}

func (x *Exchange) edit(h map[string][]string, answer bool) {
	e := x.edits(answer)
	if e == nil {
		return
	}
	for _, name := range e.Remove {
		delete(h, textproto.CanonicalMIMEHeaderKey(name))
	}
	for _, f := range e.Set {
		h[textproto.CanonicalMIMEHeaderKey(f.Name)] = nil
	}
	for _, list := range [...][]route.Field{e.Set, e.Add} {
		for _, f := range list {
			name := textproto.CanonicalMIMEHeaderKey(f.Name)
			h[name] = append(h[name], f.Value)
		}
	}
}

// EditsAnswer says whether the answer is more than what the service gave: then AppendAnswer
// appends something, or DropsAnswer drops.
func (x *Exchange) EditsAnswer() bool {
	return x.rated != nil || x.tell || x.issue() != "" || x.Marks != nil || x.edits(true) != nil || x.policy != nil && x.policy.guard != nil
}

// DropsAnswer says whether fields of this name, in any case, are taken out of the answer.
func (x *Exchange) DropsAnswer(name string) bool { return x.edits(true).Drops(name) || x.ours(name) }

// AppendAnswer appends the lines that an answer of a service bears besides its own: of its
// rate limit, Stoa-Retry, the marks, and what the rule adds.
func (x *Exchange) AppendAnswer(out []byte) []byte {
	if x.rated != nil {
		out = x.rated.AppendFields(out, x.rate)
	}
	if x.tell && !x.Edge {
		out = append(out, retry.NoRetryField+": "+retry.NoRetryValue+"\r\n"...)
	}
	if seal := x.issue(); seal != "" {
		out = x.appendCookie(append(out, "Set-Cookie: "...), seal)
		out = append(out, "\r\n"...)
	}
	for i := range x.Marks {
		out = appendLine(out, x.Marks[i][0], x.Marks[i][1])
	}
	if e := x.edits(true); e != nil {
		for i := range e.Set {
			out = appendLine(out, e.Set[i].Name, e.Set[i].Value)
		}
		for i := range e.Add {
			out = appendLine(out, e.Add[i].Name, e.Add[i].Value)
		}
	}
	return out
}

// EditAnswer does to a header of net/http what DropsAnswer and AppendAnswer say.
func (x *Exchange) EditAnswer(h map[string][]string) {
	if x.rated != nil {
		for name, value := range x.rated.Fields(x.rate) {
			h[name] = append(h[name], value)
		}
	}
	if x.tell && !x.Edge {
		h[retry.NoRetryField] = []string{retry.NoRetryValue}
	}
	if x.policy != nil && x.policy.guard != nil && x.policy.guard.cors != nil {
		for name := range h {
			if x.ours(name) {
				delete(h, name)
			}
		}
	}
	if seal := x.issue(); seal != "" {
		h["Set-Cookie"] = append(h["Set-Cookie"], string(x.appendCookie(nil, seal)))
	}
	for _, m := range x.Marks {
		name := textproto.CanonicalMIMEHeaderKey(m[0])
		h[name] = append(h[name], m[1])
	}
	x.edit(h, true)
	x.EditSecure(h)
}

// rateFields are those of the rate limit, for a refusal.
func (x *Exchange) rateFields() (f [][2]string) {
	if x.rated == nil {
		return nil
	}
	for name, value := range x.rated.Fields(x.rate) {
		if name != "Retry-After" {
			f = append(f, [2]string{name, value})
		}
	}
	return f
}

// seconds is d as a Retry-After, at least 1.
func seconds(d int64) int { return int(max(d+999_999_999, 1_000_000_000) / 1_000_000_000) }
