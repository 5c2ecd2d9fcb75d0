package api

import (
	"slices"

	"offsite/devices"
	"offsite/devices/registry"
)

// sees says whether a registered thing may be shown to p. Limits of a kind of
// outlet belong to no site and are shown to everybody.
func sees(p Principal, s *registry.Snapshot, t devices.Thing) bool {
	if len(p.Cameras) > 0 {
		if cam, ok := t.(*devices.Camera); !ok || !p.Reaches(cam.ID) {
			return false
		}
	}
	if len(p.Sites) == 0 {
		return true
	}
	if e, ok := t.(*devices.Entity); ok {
		return slices.ContainsFunc(p.Sites, func(site string) bool { return answersFor(s, e.ID, site) })
	}
	site, bound := siteOf(s, t)
	return !bound || slices.Contains(p.Sites, site)
}

// answersFor says whether an entity has a role at a site.
func answersFor(s *registry.Snapshot, entity, site string) bool {
	at := s.Sites[site]
	return at != nil && slices.ContainsFunc(at.Entities, func(r devices.Role) bool { return r.Entity == entity })
}

// siteOf gives the site that a thing other than an entity belongs to; bound is
// false for what belongs to none. A retired outlet's points are looked up by
// nobody any more: their site is "".
func siteOf(s *registry.Snapshot, t devices.Thing) (site string, bound bool) {
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
		return siteOfOutlet(s, t.Outlet()), true
	case *devices.Binding:
		return siteOfPoint(s, t.Point), true
	case *devices.Limit:
		return siteOfPoint(s, t.Point), t.Point != ""
	default:
		return "", false
	}
}

func siteOfOutlet(s *registry.Snapshot, outlet string) string {
	if o := s.Outlets[outlet]; o != nil {
		return o.Site
	}
	return ""
}

func siteOfPoint(s *registry.Snapshot, point string) string {
	outlet, _ := devices.SplitPoint(point)
	return siteOfOutlet(s, outlet)
}

// mayChange says why p may not make t what it is, or nothing. Who is limited
// to some sites changes nothing that others share: entities, limits of a kind
// of outlet, and which sites there are.
func mayChange(p Principal, s *registry.Snapshot, t devices.Thing, isNew bool) *devices.Problem {
	if len(p.Sites) == 0 {
		return nil
	}
	site, bound := siteOf(s, t)
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
		Kind: ErrForbidden, Code: "camera_not_allowed",
		ZH: "该令牌只能用于其绑定的摄像机", EN: "this token is bound to cameras and reaches nothing else",
	}
}

// AllSitesOnly refuses somebody who is limited to some sites.
func AllSitesOnly() *devices.Problem {
	return &devices.Problem{
		Kind: ErrForbidden, Code: "all_sites_only",
		ZH: "此项涉及全部场所，须由不限场所的账户操作", EN: "this concerns every site; it takes an account that is not limited to some",
	}
}
