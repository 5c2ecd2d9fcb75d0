package request

import (
	"context"
	"slices"

	"offsite/devices"
	"offsite/devices/registry"
	"offsite/gateway/api/contract"
)

// Sees says whether a registered thing may be shown to p. Limits of a kind of
// outlet belong to no site and are shown to everybody.
func Sees(p Principal, s *registry.Snapshot, t devices.Thing) bool {
	if len(p.Cameras) > 0 {
		if cam, ok := t.(*devices.Camera); !ok || !p.Reaches(cam.ID) {
			return false
		}
	}
	if len(p.Sites) == 0 {
		return true
	}
	if e, ok := t.(*devices.Entity); ok {
		return slices.ContainsFunc(p.Sites, func(site string) bool { return AnswersFor(s, e.ID, site) })
	}
	site, bound := SiteOf(s, t)
	return !bound || slices.Contains(p.Sites, site)
}

// AnswersFor says whether an entity has a role at a site.
func AnswersFor(s *registry.Snapshot, entity, site string) bool {
	at := s.Sites[site]
	return at != nil && slices.ContainsFunc(at.Entities, func(r devices.Role) bool { return r.Entity == entity })
}

// SiteOf gives the site that a thing other than an entity belongs to; bound is
// false for what belongs to none. A retired outlet's points are looked up by
// nobody any more: their site is "".
func SiteOf(s *registry.Snapshot, t devices.Thing) (site string, bound bool) {
	switch t := t.(type) {
	case *devices.Site:
		return t.ID, true
	case *devices.Outlet:
		return t.Site, true
	case *devices.Device:
		return t.Site, true
	case *devices.Camera:
		return t.Site, true
	case *devices.Point:
		return SiteOfOutlet(s, t.Outlet()), true
	case *devices.Binding:
		return siteOfPoint(s, t.Point), true
	case *devices.Limit:
		return siteOfPoint(s, t.Point), t.Point != ""
	default:
		return "", false
	}
}

// SiteOfOutlet gives the site of an outlet, "" for one that is not there.
func SiteOfOutlet(s *registry.Snapshot, outlet string) string {
	if o := s.Outlets[outlet]; o != nil {
		return o.Site
	}
	return ""
}

func siteOfPoint(s *registry.Snapshot, point string) string {
	outlet, _ := devices.SplitPoint(point)
	return SiteOfOutlet(s, outlet)
}

// MayChange says why p may not make t what it is, or nothing. Who is limited
// to some sites changes nothing that others share: entities, limits of a kind
// of outlet, and which sites there are.
func MayChange(p Principal, s *registry.Snapshot, t devices.Thing, isNew bool) *devices.Problem {
	if len(p.Sites) == 0 {
		return nil
	}
	site, bound := SiteOf(s, t)
	_, isSite := t.(*devices.Site)
	if !bound || (isSite && isNew) {
		return AllSitesOnly()
	}
	if !slices.Contains(p.Sites, site) {
		return devices.Invalid("site", "unknown_site", "没有该场所，或不在您的权限范围内", "there is no such site, or it lies outside your rights")
	}
	return nil
}

// CameraNotAllowed refuses a token that is bound to other cameras.
func CameraNotAllowed() *devices.Problem {
	return &devices.Problem{
		Kind: contract.ErrForbidden, Code: "camera_not_allowed",
		ZH: "该令牌只能用于其绑定的摄像机", EN: "this token is bound to cameras and reaches nothing else",
	}
}

// AllSitesOnly refuses somebody who is limited to some sites.
func AllSitesOnly() *devices.Problem {
	return &devices.Problem{
		Kind: contract.ErrForbidden, Code: "all_sites_only",
		ZH: "此项涉及全部场所，须由不限场所的账户操作", EN: "this concerns every site; it takes an account that is not limited to some",
	}
}

// Visible gives a live thing. What lies outside the asker's sites is not found
// in the same words as what is not there.
func Visible(p Principal, s *registry.Snapshot, kind devices.Kind, id string) (devices.Thing, error) {
	t := s.Get(kind, id)
	if t == nil || !Sees(p, s, t) {
		return nil, registry.NotFound(kind, id)
	}
	return t, nil
}

// Retired gives a retired thing, nil where there is none.
func Retired[T devices.Thing](ctx context.Context, r *registry.Registry, kind devices.Kind, id string) (found T, err error) {
	list, err := r.Retired(ctx, kind)
	for _, t := range list {
		if t.Key() == id {
			found = t.(T)
		}
	}
	return found, err
}
