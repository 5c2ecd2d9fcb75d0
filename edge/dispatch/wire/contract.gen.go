// Code generated from openapi.yaml by github.com/oapi-codegen/oapi-codegen/v2 v2.8.2. DO NOT EDIT.

package wire

import "encoding/json"

// Defines values for ActKind.
const (
	ActKindRemoteCheck  ActKind = "remote_check"
	ActKindRemoteSample ActKind = "remote_sample"
	ActKindRemoteView   ActKind = "remote_view"
)

// Defines values for ActResult.
const (
	ActResultDone    ActResult = "done"
	ActResultFailed  ActResult = "failed"
	ActResultRefused ActResult = "refused"
)

// Defines values for AggregateBatchKind.
const (
	AggregateBatchKindDay    AggregateBatchKind = "day"
	AggregateBatchKindHour   AggregateBatchKind = "hour"
	AggregateBatchKindMinute AggregateBatchKind = "minute"
	AggregateBatchKindMonth  AggregateBatchKind = "month"
)

// Defines values for Algorithm.
const (
	AlgorithmHMACSHA256 Algorithm = "HMAC-SHA256"
	AlgorithmHMACSM3    Algorithm = "HMAC-SM3"
)

// Defines values for ClockState.
const (
	ClockStateOff     ClockState = "off"
	ClockStateSynced  ClockState = "synced"
	ClockStateUnknown ClockState = "unknown"
)

// Defines values for ClueActionAction.
const (
	ClueActionActionFedBack  ClueActionAction = "fed_back"
	ClueActionActionReceived ClueActionAction = "received"
	ClueActionActionSigned   ClueActionAction = "signed"
	ClueActionActionVerified ClueActionAction = "verified"
)

// Defines values for CommandType.
const (
	CommandTypeClueAssign      CommandType = "clue.assign"
	CommandTypeClueClose       CommandType = "clue.close"
	CommandTypeClueReturn      CommandType = "clue.return"
	CommandTypeClueSupervise   CommandType = "clue.supervise"
	CommandTypeClueUrge        CommandType = "clue.urge"
	CommandTypeLimitSet        CommandType = "limit.set"
	CommandTypePTZMove         CommandType = "ptz.move"
	CommandTypeReadingRead     CommandType = "reading.read"
	CommandTypeReadingsQuery   CommandType = "readings.query"
	CommandTypeRecordingExport CommandType = "recording.export"
	CommandTypeRecordingQuery  CommandType = "recording.query"
	CommandTypeResourcesSync   CommandType = "resources.sync"
	CommandTypeSnapshotTake    CommandType = "snapshot.take"
	CommandTypeStreamClose     CommandType = "stream.close"
	CommandTypeStreamOpen      CommandType = "stream.open"
	CommandTypeStreamRenew     CommandType = "stream.renew"
	CommandTypeSubscriptionSet CommandType = "subscription.set"
)

// Defines values for EventKind.
const (
	EventKindAlarm      EventKind = "alarm"
	EventKindExceedance EventKind = "exceedance"
	EventKindFault      EventKind = "fault"
	EventKindWarning    EventKind = "warning"
)

// Defines values for EventLevel.
const (
	EventLevelH     EventLevel = "H"
	EventLevelHH    EventLevel = "HH"
	EventLevelL     EventLevel = "L"
	EventLevelLL    EventLevel = "LL"
	EventLevelLower EventLevel = "lower"
	EventLevelNone  EventLevel = "none"
	EventLevelUpper EventLevel = "upper"
)

// Defines values for EventStep.
const (
	EventStepClosed    EventStep = "closed"
	EventStepCorrected EventStep = "corrected"
	EventStepEvidence  EventStep = "evidence"
	EventStepOpened    EventStep = "opened"
	EventStepUpdated   EventStep = "updated"
)

// Defines values for EvidenceState.
const (
	EvidenceStateAttached EvidenceState = "attached"
	EvidenceStateNone     EvidenceState = "none"
	EvidenceStatePending  EvidenceState = "pending"
)

// Defines values for EvidenceItemKind.
const (
	EvidenceItemKindClip  EvidenceItemKind = "clip"
	EvidenceItemKindStill EvidenceItemKind = "still"
)

// Defines values for EvidenceItemTimeSource.
const (
	EvidenceItemTimeSourceArrival EvidenceItemTimeSource = "arrival"
	EvidenceItemTimeSourceCamera  EvidenceItemTimeSource = "camera"
)

// Defines values for HeartbeatState.
const (
	HeartbeatStateDegraded HeartbeatState = "degraded"
	HeartbeatStateFault    HeartbeatState = "fault"
	HeartbeatStateOK       HeartbeatState = "ok"
)

// Defines values for MaintenanceKind.
const (
	MaintenanceKindDevice MaintenanceKind = "device"
	MaintenanceKindPoint  MaintenanceKind = "point"
)

// Defines values for ReadingQuality.
const (
	ReadingQualityBad            ReadingQuality = "bad"
	ReadingQualityBadCalibration ReadingQuality = "bad/calibration"
	ReadingQualityBadClock       ReadingQuality = "bad/clock"
	ReadingQualityBadDevice      ReadingQuality = "bad/device"
	ReadingQualityBadFault       ReadingQuality = "bad/fault"
	ReadingQualityBadLink        ReadingQuality = "bad/link"
	ReadingQualityBadMaintenance ReadingQuality = "bad/maintenance"
	ReadingQualityBadManual      ReadingQuality = "bad/manual"
	ReadingQualityBadStopped     ReadingQuality = "bad/stopped"
	ReadingQualityGood           ReadingQuality = "good"
	ReadingQualityUncertainOver  ReadingQuality = "uncertain/over"
	ReadingQualityUncertainRange ReadingQuality = "uncertain/range"
)

// Defines values for ReadingBatchKind.
const (
	ReadingBatchKindDay      ReadingBatchKind = "day"
	ReadingBatchKindHour     ReadingBatchKind = "hour"
	ReadingBatchKindMinute   ReadingBatchKind = "minute"
	ReadingBatchKindRealtime ReadingBatchKind = "realtime"
)

// Defines values for RecordingArgsSource.
const (
	RecordingArgsSourceOwn      RecordingArgsSource = "own"
	RecordingArgsSourceRecorder RecordingArgsSource = "recorder"
)

// Defines values for RecordingPartTimes.
const (
	RecordingPartTimesAsked    RecordingPartTimes = "asked"
	RecordingPartTimesRecorder RecordingPartTimes = "recorder"
)

// Defines values for RecordingSource.
const (
	RecordingSourceOwn      RecordingSource = "own"
	RecordingSourceRecorder RecordingSource = "recorder"
)

// Defines values for ResourceKind.
const (
	ResourceKindCamera ResourceKind = "camera"
	ResourceKindDevice ResourceKind = "device"
	ResourceKindEntity ResourceKind = "entity"
	ResourceKindOutlet ResourceKind = "outlet"
	ResourceKindPoint  ResourceKind = "point"
	ResourceKindSite   ResourceKind = "site"
)

// Defines values for ResourceOp.
const (
	ResourceOpA ResourceOp = "A"
	ResourceOpD ResourceOp = "D"
	ResourceOpU ResourceOp = "U"
)

// Defines values for ResourceBatchMode.
const (
	ResourceBatchModeChanges ResourceBatchMode = "changes"
	ResourceBatchModeFull    ResourceBatchMode = "full"
)

// Defines values for ResultStatus.
const (
	ResultStatusAccepted ResultStatus = "accepted"
	ResultStatusDone     ResultStatus = "done"
	ResultStatusFailed   ResultStatus = "failed"
	ResultStatusRefused  ResultStatus = "refused"
)

// Defines values for RotationReason.
const (
	RotationReasonRequested RotationReason = "requested"
	RotationReasonScheduled RotationReason = "scheduled"
	RotationReasonSuspected RotationReason = "suspected"
)

// Defines values for StreamDataCodec.
const (
	StreamDataCodecH264 StreamDataCodec = "h264"
	StreamDataCodecH265 StreamDataCodec = "h265"
)

// Defines values for StreamEndReason.
const (
	StreamEndReasonCameraLost    StreamEndReason = "camera_lost"
	StreamEndReasonClosed        StreamEndReason = "closed"
	StreamEndReasonExpired       StreamEndReason = "expired"
	StreamEndReasonMemoryShort   StreamEndReason = "memory_short"
	StreamEndReasonPeerGone      StreamEndReason = "peer_gone"
	StreamEndReasonRecordingOver StreamEndReason = "recording_over"
	StreamEndReasonStopped       StreamEndReason = "stopped"
	StreamEndReasonUploadFull    StreamEndReason = "upload_full"
)

// Defines values for StreamOpenArgsProfile.
const (
	StreamOpenArgsProfileMain StreamOpenArgsProfile = "main"
	StreamOpenArgsProfileSub  StreamOpenArgsProfile = "sub"
)

// Act 监管行为 / a supervisory act
type Act struct {
	// At 时间，RFC 3339，+08:00 / time
	At    Time     `json:"at"`
	Blobs []SHA256 `json:"blobs,omitempty,omitzero"`

	// Command 指令编号 / id of the command
	Command string `json:"command,omitempty,omitzero"`

	// ID 消息编号 / id of a message
	ID MessageID `json:"id"`

	// Kind 远程检查、调阅、采样
	Kind ActKind `json:"kind"`

	// Officer 执法人员 / officer
	Officer Officer `json:"officer"`

	// Purpose 事由 / purpose
	Purpose string    `json:"purpose"`
	Result  ActResult `json:"result"`

	// What 对象，如 camera/cam-1 / what was looked at
	What string `json:"what"`
}

// ActKind 远程检查、调阅、采样
type ActKind string

// ActResult defines model for Act.Result.
type ActResult string

// Aggregate defines model for Aggregate.
type Aggregate struct {
	Count    int      `json:"count,omitempty,omitzero"`
	Expected int      `json:"expected,omitempty,omitzero"`
	Mark     string   `json:"mark,omitempty,omitzero"`
	Max      *float64 `json:"max,omitempty"`
	Mean     *float64 `json:"mean,omitempty"`
	Min      *float64 `json:"min,omitempty"`

	// OnlineRate 在线率
	OnlineRate *float64 `json:"online_rate,omitempty"`

	// Outlet 编号 / id
	Outlet ID `json:"outlet,omitempty,omitzero"`

	// Point 测点编号“点位.测点” / point id "outlet.point"
	Point PointID `json:"point,omitempty,omitzero"`

	// Site 编号 / id
	Site ID `json:"site"`

	// Start 时间，RFC 3339，+08:00 / time
	Start Time `json:"start"`

	// TransmissionRate 传输率
	TransmissionRate *float64 `json:"transmission_rate,omitempty"`

	// ValidRate 有效率
	ValidRate *float64 `json:"valid_rate,omitempty"`
}

// AggregateBatch defines model for AggregateBatch.
type AggregateBatch struct {
	Kind AggregateBatchKind `json:"kind"`
	Rows []Aggregate        `json:"rows"`
}

// AggregateBatchKind defines model for AggregateBatch.Kind.
type AggregateBatchKind string

// Algorithm 签名算法；SM2 预留 / signature algorithm; SM2 follows
type Algorithm string

// BlobReceipt defines model for BlobReceipt.
type BlobReceipt struct {
	// SHA256 SHA-256, 64 hex digits
	SHA256 SHA256 `json:"sha256"`
	Size   int64  `json:"size"`
}

// Buffer 待报缓存 / what waits to be sent
type Buffer struct {
	// Dead 死信数 / dead letters
	Dead int `json:"dead"`

	// Oldest 时间，RFC 3339，+08:00 / time
	Oldest     Time  `json:"oldest,omitempty,omitzero"`
	SpoolBytes int64 `json:"spool_bytes,omitempty,omitzero"`

	// Waiting 待发消息数 / messages waiting
	Waiting int `json:"waiting"`
}

// Clock 时钟状态 / state of the gateway's clock
type Clock struct {
	// OffsetMS 平台时间减网关时间 / platform time minus gateway time
	OffsetMS int64 `json:"offset_ms"`

	// Source 时间来源 / where the time comes from
	Source string `json:"source,omitempty,omitzero"`

	// State 未知、同步、偏差超过 2 秒 / unknown, within 2 s, further off
	State ClockState `json:"state"`
}

// ClockState 未知、同步、偏差超过 2 秒 / unknown, within 2 s, further off
type ClockState string

// ClueAction defines model for ClueAction.
type ClueAction struct {
	// Action 接收、签收、核查、反馈
	Action ClueActionAction `json:"action"`

	// At 时间，RFC 3339，+08:00 / time
	At    Time     `json:"at"`
	Blobs []SHA256 `json:"blobs,omitempty,omitzero"`
	Lat   *float64 `json:"lat,omitempty"`
	Lon   *float64 `json:"lon,omitempty"`
	Note  string   `json:"note,omitempty,omitzero"`

	// Officer 执法人员 / officer
	Officer Officer `json:"officer"`
}

// ClueActionAction 接收、签收、核查、反馈
type ClueActionAction string

// ClueArgs 线索：分发、催办、督办、退回、办结 / assign, urge, supervise, return, close
type ClueArgs struct {
	// Authority 督办机关 / issuing authority
	Authority string `json:"authority,omitempty,omitzero"`

	// Clue 消息编号 / id of a message
	Clue MessageID `json:"clue"`

	// Deadline 时间，RFC 3339，+08:00 / time
	Deadline Time `json:"deadline,omitempty,omitzero"`

	// Event 消息编号 / id of a message
	Event MessageID `json:"event,omitempty,omitzero"`
	Note  string    `json:"note,omitempty,omitzero"`
}

// Command 指令 / a command
type Command struct {
	// Args 参数，见 x-commands / arguments
	Args json.RawMessage `json:"args"`

	// Gateway 编号 / id
	Gateway ID `json:"gateway"`

	// ID 消息编号 / id of a message
	ID MessageID `json:"id"`

	// Officer 执法人员 / officer
	Officer Officer `json:"officer"`

	// Purpose 事由 / purpose
	Purpose string `json:"purpose"`

	// Type 指令：抓拍、取数、目录重报、订阅、视频推流、录像查询与导出、云台；其余预留。
	// Those marked x-status later are not yet in use; see x-commands for arguments and results.
	Type CommandType `json:"type"`
}

// CommandPoll defines model for CommandPoll.
type CommandPoll struct {
	Commands []SignedCommand `json:"commands"`
}

// CommandType 指令：抓拍、取数、目录重报、订阅、视频推流、录像查询与导出、云台；其余预留。
// Those marked x-status later are not yet in use; see x-commands for arguments and results.
type CommandType string

// Enrolled defines model for Enrolled.
type Enrolled struct {
	// GatewayID 编号 / id
	GatewayID ID `json:"gateway_id"`

	// GatewayKey 密钥 / key
	GatewayKey Key `json:"gateway_key"`

	// PlatformKey 密钥 / key
	PlatformKey Key `json:"platform_key"`

	// Subscription 实时数据订阅，整体替换 / subscription of real-time readings; replaces the one before
	Subscription Subscription `json:"subscription,omitempty,omitzero"`

	// Time 时间，RFC 3339，+08:00 / time
	Time Time `json:"time"`
}

// Enrolment defines model for Enrolment.
type Enrolment struct {
	// ActivationCode 一次性激活码 / one-time activation code
	ActivationCode string `json:"activation_code"`

	// Algorithms 网关支持的签名算法 / algorithms the gateway can sign with
	Algorithms []Algorithm `json:"algorithms,omitempty,omitzero"`

	// Version 软件版本 / software version
	Version string `json:"version"`
}

// Event 事件消息 / one message of an event
type Event struct {
	// Averaging instant, rolling/10m, block/15m, hour, day
	Averaging string `json:"averaging"`

	// Camera 事件的摄像机；limit_id 为 camera_lost、camera_frozen、camera_black、camera_covered、camera_moved（画面故障）或 recognised_ 加类型 smoke、fire、intrusion、line_crossing、motion、tamper（摄像机自行识别） / camera that the event is of; limit_id names the fault of its picture, or recognised_ and what it has recognised
	Camera string `json:"camera,omitempty,omitzero"`

	// Clause 条款 / clause
	Clause string `json:"clause,omitempty,omitzero"`

	// Clock 时钟状态 / state of the gateway's clock
	Clock Clock `json:"clock,omitempty,omitzero"`

	// Corrects 更正的原因 / what a correction corrects
	Corrects string `json:"corrects,omitempty,omitzero"`

	// EndedAt 时间，RFC 3339，+08:00 / time
	EndedAt Time `json:"ended_at,omitempty,omitzero"`

	// Evidence 证据 / evidence of an event
	Evidence Evidence `json:"evidence"`

	// Factor 因子；摄像机识别的事件为其类型，如 smoke / of what a camera has recognised its type, such as smoke
	Factor string `json:"factor"`

	// ID 消息编号 / id of a message
	ID MessageID `json:"id"`

	// InspectionItem 检查实施清单编码 / inspection-list code
	InspectionItem string `json:"inspection_item,omitempty,omitzero"`

	// JudgedAt 时间，RFC 3339，+08:00 / time
	JudgedAt Time `json:"judged_at,omitempty,omitzero"`

	// Kind 报警、超标、预警、故障
	Kind  EventKind  `json:"kind"`
	Level EventLevel `json:"level"`

	// Limit 限值 / the limit's value
	Limit   float64 `json:"limit"`
	LimitID string  `json:"limit_id,omitempty,omitzero"`

	// Mark 数据标记 / data mark
	Mark string `json:"mark,omitempty,omitzero"`

	// Outlet 点位；摄像机事件在该摄像机只看一个点位时为该点位，否则为空 / of an event of a camera the one outlet that it watches, empty where there are several or none
	Outlet string `json:"outlet"`

	// Peak 期间最不利值 / worst value so far
	Peak *float64 `json:"peak,omitempty"`

	// Point 测点；摄像机事件为空 / empty for an event of a camera
	Point string `json:"point"`

	// RegItem 监管事项编码 / regulatory item
	RegItem string `json:"reg_item,omitempty,omitzero"`

	// RegionCode 行政区划代码 GB/T 2260
	RegionCode string `json:"region_code,omitempty,omitzero"`

	// Revision opened 为 1，其后逐一递增；evidence 不占用 / opened is 1, each next one more; evidence repeats the revision it was told after
	Revision int `json:"revision"`

	// RuleVersion 判定时的规则版本 / version of the limit at the judgement
	RuleVersion int64 `json:"rule_version"`

	// Site 编号 / id
	Site ID `json:"site"`

	// Standard 标准号 / number of the standard
	Standard string `json:"standard,omitempty,omitzero"`

	// StartedAt 时间，RFC 3339，+08:00 / time
	StartedAt Time `json:"started_at"`

	// Step 发生、更新、恢复、更正、证据
	Step EventStep `json:"step"`
	Unit string    `json:"unit"`

	// USCC 统一社会信用代码 / unified social credit code
	USCC string `json:"uscc,omitempty,omitzero"`

	// ValidRatio 有效数据比例 / share of valid data in the window
	ValidRatio *float64 `json:"valid_ratio,omitempty"`

	// Value 触发值 / value that broke the limit
	Value float64 `json:"value"`
}

// EventKind 报警、超标、预警、故障
type EventKind string

// EventLevel defines model for Event.Level.
type EventLevel string

// EventStep 发生、更新、恢复、更正、证据
type EventStep string

// Evidence 证据 / evidence of an event
type Evidence struct {
	// Complete 不会再有更多证据 / nothing more will come
	Complete *bool          `json:"complete,omitempty"`
	Items    []EvidenceItem `json:"items,omitempty,omitzero"`

	// Manifest 清单文件（RFC 8785 规范形式的 JSON，格式 offsite-evidence/1）；complete 后才有 / file that names every piece, a JSON document in the form of RFC 8785; only when complete
	Manifest string `json:"manifest,omitempty,omitzero"`

	// Reason 没有图片的原因（英文） / why there is none
	Reason string `json:"reason,omitempty,omitzero"`

	// ReasonZh 没有图片的原因
	ReasonZh string `json:"reason_zh,omitempty,omitzero"`

	// State 待取、已附、没有
	State EvidenceState `json:"state"`
}

// EvidenceState 待取、已附、没有
type EvidenceState string

// EvidenceItem 一件证据；没有时无 sha256 而有 reason；不完整时两者都有 / one piece, or why a camera gave none; both where something is lacking
type EvidenceItem struct {
	// Camera 编号 / id
	Camera ID `json:"camera"`

	// CapturedAt 拍摄时刻，录像为其开始，网关时钟 / capture, of a clip its begin, by the gateway clock
	CapturedAt Time `json:"captured_at,omitempty,omitzero"`

	// ClockOffsetMS 摄像机时钟减网关时钟 / camera clock less the gateway clock
	ClockOffsetMS *int64 `json:"clock_offset_ms,omitempty"`

	// DistanceMS 拍摄时刻减触发时刻 / capture time minus breach time
	DistanceMS *int64 `json:"distance_ms,omitempty"`
	Height     int    `json:"height,omitempty,omitzero"`

	// Kind 图片、录像 / picture or clip
	Kind EvidenceItemKind `json:"kind,omitempty,omitzero"`

	// MarkedSHA256 烧录水印的副本 / copy with the watermark burnt in
	MarkedSHA256 string `json:"marked_sha256,omitempty,omitzero"`
	MediaType    string `json:"media_type,omitempty,omitzero"`

	// MomentMS 图片要求的时刻相对触发时刻 / moment that was wanted of a still, from the breach
	MomentMS int64  `json:"moment_ms,omitempty,omitzero"`
	Reason   string `json:"reason,omitempty,omitzero"`
	ReasonZh string `json:"reason_zh,omitempty,omitzero"`

	// SHA256 SHA-256, 64 hex digits
	SHA256 SHA256 `json:"sha256,omitempty,omitzero"`

	// Size 字节 / bytes
	Size int64 `json:"size,omitempty,omitzero"`

	// Step 取图方式 / rung of the ladder that gave the picture
	Step string `json:"step,omitempty,omitzero"`

	// TimeSource 时间来自到达时刻或摄像机 / whose clock told the capture: the gateway at arrival, or the camera too
	TimeSource EvidenceItemTimeSource `json:"time_source,omitempty,omitzero"`

	// Until 时间，RFC 3339，+08:00 / time
	Until Time `json:"until,omitempty,omitzero"`
	Width int  `json:"width,omitempty,omitzero"`
}

// EvidenceItemKind 图片、录像 / picture or clip
type EvidenceItemKind string

// EvidenceItemTimeSource 时间来自到达时刻或摄像机 / whose clock told the capture: the gateway at arrival, or the camera too
type EvidenceItemTimeSource string

// Heartbeat defines model for Heartbeat.
type Heartbeat struct {
	// Buffer 待报缓存 / what waits to be sent
	Buffer  Buffer      `json:"buffer"`
	Cameras OnlineCount `json:"cameras,omitempty,omitzero"`

	// Clock 时钟状态 / state of the gateway's clock
	Clock   Clock       `json:"clock"`
	Devices OnlineCount `json:"devices,omitempty,omitzero"`

	// Losses 丢弃记录：上次被接受的心跳之后新增或变化的，先报未报过的 / what had to be dropped: rows that are new or have changed since a heartbeat with them was taken, those that were never told first
	Losses []Loss `json:"losses,omitempty,omitzero"`

	// Maintenance 正在维护的设备与测点 / devices and points that are under maintenance now
	Maintenance []Maintenance `json:"maintenance,omitempty,omitzero"`

	// Notices 网关自身正存在的问题 / what is wrong with the gateway itself now
	Notices []Notice `json:"notices,omitempty,omitzero"`

	// ResourcesRevision 已报送的登记版本 / registry revision that was sent
	ResourcesRevision int64 `json:"resources_revision,omitempty,omitzero"`

	// Stale 久无新值的测点，其最近值可能已不真实 / points that have fallen silent: their newest value may no longer be true
	Stale []PointID `json:"stale,omitempty,omitzero"`

	// StartedAt 时间，RFC 3339，+08:00 / time
	StartedAt Time `json:"started_at"`

	// State 正常、部分异常、故障
	State HeartbeatState `json:"state"`

	// Streams 正在推送的视频 / streams that are being pushed now
	Streams []MessageID `json:"streams,omitempty,omitzero"`

	// Time 时间，RFC 3339，+08:00 / time
	Time    Time   `json:"time"`
	Version string `json:"version"`
}

// HeartbeatState 正常、部分异常、故障
type HeartbeatState string

// HeartbeatAnswer defines model for HeartbeatAnswer.
type HeartbeatAnswer struct {
	// Resync 要求重报资源目录 / asks for a full run of resources
	Resync bool `json:"resync,omitempty,omitzero"`

	// RotateKeys 要求轮换密钥 / asks for a rotation of keys
	RotateKeys bool `json:"rotate_keys,omitempty,omitzero"`

	// Time 时间，RFC 3339，+08:00 / time
	Time Time `json:"time"`
}

// ID 编号 / id
type ID = string

// Key 密钥 / key
type Key struct {
	// Algorithm 签名算法；SM2 预留 / signature algorithm; SM2 follows
	Algorithm Algorithm `json:"algorithm"`
	ID        string    `json:"id"`

	// Secret 至少 16 字节，Base64 / at least 16 bytes in base64
	Secret []byte `json:"secret"`
}

// Keys 一对密钥：上行由网关签名，下行由平台签名 / the gateway signs upwards by one, the platform signs commands by the other
type Keys struct {
	// GatewayKey 密钥 / key
	GatewayKey Key `json:"gateway_key"`

	// PlatformKey 密钥 / key
	PlatformKey Key `json:"platform_key"`
}

// LimitArgs defines model for LimitArgs.
type LimitArgs struct {
	// Limit 限值 / the limit in the gateway's own form
	Limit json.RawMessage `json:"limit"`
}

// Loss 丢弃 / what was dropped, how many, from when to when and why
type Loss struct {
	Count int64 `json:"count"`

	// From 时间，RFC 3339，+08:00 / time
	From Time `json:"from"`

	// ID 记录编号；再次上报时以后者为准 / of the row; told again it takes the place of the former
	ID int64 `json:"id"`

	// Open 仍在继续 / it goes on
	Open bool `json:"open,omitempty,omitzero"`

	// To 时间，RFC 3339，+08:00 / time
	To   Time   `json:"to"`
	What string `json:"what"`
	Why  string `json:"why"`
}

// Maintenance 维护：照常记录，不参与判定 / it is recorded and not judged
type Maintenance struct {
	// From 时间，RFC 3339，+08:00 / time
	From Time   `json:"from"`
	ID   string `json:"id"`

	// Kind 设备、测点
	Kind   MaintenanceKind `json:"kind"`
	Reason string          `json:"reason"`

	// Site 编号 / id
	Site ID `json:"site,omitempty,omitzero"`

	// Until 时间，RFC 3339，+08:00 / time
	Until Time `json:"until"`
}

// MaintenanceKind 设备、测点
type MaintenanceKind string

// MessageID 消息编号 / id of a message
type MessageID = string

// NoArgs 无参数 / no arguments
type NoArgs = struct{}

// Notice defines model for Notice.
type Notice struct {
	Code string `json:"code"`

	// Since 时间，RFC 3339，+08:00 / time
	Since Time   `json:"since"`
	Why   string `json:"why"`
}

// Officer 执法人员 / officer
type Officer struct {
	// ID 执法证号 / number of the officer's licence
	ID   string `json:"id"`
	Name string `json:"name"`

	// Unit 单位 / authority
	Unit string `json:"unit,omitempty,omitzero"`
}

// OnlineCount defines model for OnlineCount.
type OnlineCount struct {
	Online int `json:"online"`
	Total  int `json:"total"`
}

// PTZArgs 转到预置位，或按方向转动一段时间 / go to a preset, or turn for a while
type PTZArgs struct {
	// Camera 编号 / id
	Camera ID `json:"camera"`

	// Pan 向右为正 / right is positive
	Pan float64 `json:"pan,omitempty,omitzero"`

	// Preset 预置位 / a preset
	Preset string `json:"preset,omitempty,omitzero"`

	// Seconds 时长，缺省 1 / how long; 1 if absent
	Seconds float64 `json:"seconds,omitempty,omitzero"`

	// Tilt 向上为正 / up is positive
	Tilt float64 `json:"tilt,omitempty,omitzero"`

	// Zoom 拉近为正 / in is positive
	Zoom float64 `json:"zoom,omitempty,omitzero"`
}

// PTZData defines model for PTZData.
type PTZData struct {
	// Camera 编号 / id
	Camera ID `json:"camera"`
}

// PointID 测点编号“点位.测点” / point id "outlet.point"
type PointID = string

// ProblemBody 错误说明 / what is wrong and what cures it (RFC 9457)
type ProblemBody struct {
	// Code 稳定代码 / stable code for programs
	Code   string `json:"code"`
	Detail string `json:"detail,omitempty,omitzero"`

	// Field 出错字段 / the field at fault
	Field    string    `json:"field,omitempty,omitzero"`
	Refusals []Refusal `json:"refusals,omitempty,omitzero"`

	// State 当前状态（illegal_transition） / current state, with illegal_transition
	State  string `json:"state,omitempty,omitzero"`
	Status int    `json:"status"`

	// Title 英文一句话 / one sentence in English
	Title string `json:"title"`

	// TitleZh 中文一句话 / the same in Chinese
	TitleZh string `json:"title_zh,omitempty,omitzero"`
	Type    string `json:"type,omitempty,omitzero"`
}

// Reading 一个测点的一个值 / one value of one point
type Reading struct {
	// At 时间，RFC 3339，+08:00 / time
	At Time `json:"at"`

	// Factor 监测因子编码 / factor code
	Factor string `json:"factor,omitempty,omitzero"`

	// Mark HJ 212 数据标记 / data mark of HJ 212
	Mark string `json:"mark,omitempty,omitzero"`

	// Point 测点编号“点位.测点” / point id "outlet.point"
	Point PointID `json:"point"`

	// Quality 质量 / quality
	Quality ReadingQuality `json:"quality"`

	// Resent 补传 / sent late or again
	Resent bool `json:"resent,omitempty,omitzero"`

	// Site 编号 / id
	Site ID `json:"site"`

	// Stale 久无新值，可能已不真实 / nothing newer has come for long: it may no longer be true
	Stale bool `json:"stale,omitempty,omitzero"`

	// Unit 单位 / unit
	Unit  string  `json:"unit,omitempty,omitzero"`
	Value float64 `json:"value"`
}

// ReadingQuality 质量 / quality
type ReadingQuality string

// ReadingArgs defines model for ReadingArgs.
type ReadingArgs struct {
	Points []PointID `json:"points"`
}

// ReadingBatch defines model for ReadingBatch.
type ReadingBatch struct {
	// Kind 实时、分钟、小时、日
	Kind     ReadingBatchKind `json:"kind"`
	Readings []Reading        `json:"readings"`
}

// ReadingBatchKind 实时、分钟、小时、日
type ReadingBatchKind string

// ReadingData defines model for ReadingData.
type ReadingData struct {
	// Missing 没有值的测点 / points without a value
	Missing  []PointID `json:"missing,omitempty,omitzero"`
	Readings []Reading `json:"readings"`
}

// ReadingsQueryArgs defines model for ReadingsQueryArgs.
type ReadingsQueryArgs struct {
	// From 时间，RFC 3339，+08:00 / time
	From   Time      `json:"from"`
	Points []PointID `json:"points"`

	// To 时间，RFC 3339，+08:00 / time
	To            Time `json:"to"`
	WindowSeconds int  `json:"window_seconds,omitempty,omitzero"`
}

// Receipt 收条 / receipt of a message
type Receipt struct {
	// Accepted 接收条数 / records accepted
	Accepted int       `json:"accepted"`
	Refusals []Refusal `json:"refusals,omitempty,omitzero"`
}

// Reconciliation defines model for Reconciliation.
type Reconciliation struct {
	Day   string `json:"day"`
	Kinds []struct {
		Count int64 `json:"count"`

		// Hash 按键排序后各消息散列的散列 / hash over the message hashes sorted by key
		Hash string `json:"hash"`
		Kind string `json:"kind"`
	} `json:"kinds"`
}

// RecorderData 摄像机所接的录像机；没有时缺 / the camera's recorder; absent where it has none
type RecorderData struct {
	// ClockOffsetMS 其时钟现在比网关时钟快多少；缺为未知 / that its clock is ahead of the gateway's now; absent: not known
	ClockOffsetMS *int64 `json:"clock_offset_ms,omitempty"`
	Host          string `json:"host"`

	// Known 缺：录像机不说明保存了什么，只能试取 / absent: it does not tell what it keeps, one has to try
	Known bool `json:"known,omitempty,omitzero"`

	// Reason 为何没有应答；录像机无应答时不等待 / why it says nothing; a silent recorder is not waited for
	Reason   string `json:"reason,omitempty,omitzero"`
	ReasonZh string `json:"reason_zh,omitempty,omitzero"`

	// ShiftMS 各时刻已由录像机时钟减去多少；缺为未换算 / that times here are less than by the recorder's clock; absent: they are its own
	ShiftMS int64 `json:"shift_ms,omitempty,omitzero"`
}

// RecordingArgs 缺省时网关自己的录像与摄像机所接录像机（NVR）的录像合为一个答复，各段注明来源：网关有的用网关的，没有的用录像机的。录像机的时刻按其时钟的偏差（clock_offset_ms）换算为网关时钟，换算了多少见 shift_ms；偏差未知或超过一天的不作换算。
// By default what the gateway has recorded and what the camera's recorder (NVR) keeps are one answer, each stretch told by its source: the gateway's own where it has one,
// the recorder's where it has not. Times of a recorder are shifted to the gateway's clock by what its own is ahead, as shift_ms says; where that is not known, or is more than a day, they are its own.
type RecordingArgs struct {
	// Camera 编号 / id
	Camera ID `json:"camera"`

	// From 时间，RFC 3339，+08:00 / time
	From Time `json:"from"`

	// Source 只要这一来源；recording.export 用 / the only source that is wanted; of recording.export
	Source RecordingArgsSource `json:"source,omitempty,omitzero"`

	// To 时间，RFC 3339，+08:00 / time
	To Time `json:"to"`
}

// RecordingArgsSource 只要这一来源；recording.export 用 / the only source that is wanted; of recording.export
type RecordingArgsSource string

// RecordingData defines model for RecordingData.
type RecordingData struct {
	// Camera 编号 / id
	Camera ID `json:"camera"`

	// Gaps 双方都没有录像的时段及原因 / what nobody has, with the reasons
	Gaps []RecordingGap `json:"gaps,omitempty,omitzero"`

	// Recorder 摄像机所接的录像机；没有时缺 / the camera's recorder; absent where it has none
	Recorder RecorderData `json:"recorder,omitempty,omitzero"`

	// Stretches 有录像的时段，按时间，互不重叠 / stretches that were recorded, by time, never two of the same time
	Stretches []RecordingStretch `json:"stretches"`
}

// RecordingExport 一个时段导出为若干文件，每个只有一个来源，另有清单（JSON）写明各文件的来源、时钟、哈希以及缺口和原因；清单与各文件都作为 blob 先于结果送达。
// An interval is taken out as files of one source each, and a manifest (JSON) that names the source, clock and hash of each, and the gaps with their reasons.
// The manifest and the files are put as blobs before the result.
type RecordingExport struct {
	// Bytes 各文件合计 / of all files
	Bytes int64 `json:"bytes"`

	// Camera 编号 / id
	Camera ID `json:"camera"`

	// From 时间，RFC 3339，+08:00 / time
	From Time           `json:"from"`
	Gaps []RecordingGap `json:"gaps,omitempty,omitzero"`

	// Manifest SHA-256, 64 hex digits
	Manifest SHA256          `json:"manifest"`
	Parts    []RecordingPart `json:"parts"`

	// To 时间，RFC 3339，+08:00 / time
	To Time `json:"to"`
}

// RecordingGap defines model for RecordingGap.
type RecordingGap struct {
	// From 时间，RFC 3339，+08:00 / time
	From Time `json:"from"`

	// Reason 网关为何没有 / why the gateway has none
	Reason   string `json:"reason,omitempty,omitzero"`
	ReasonZh string `json:"reason_zh,omitempty,omitzero"`

	// RecorderReason 录像机为何也没有；缺：没有录像机或未问 / why its recorder has none either; absent: there is none, or it was not asked
	RecorderReason   string `json:"recorder_reason,omitempty,omitzero"`
	RecorderReasonZh string `json:"recorder_reason_zh,omitempty,omitzero"`

	// To 时间，RFC 3339，+08:00 / time
	To Time `json:"to"`
}

// RecordingPart defines model for RecordingPart.
type RecordingPart struct {
	Bytes int64 `json:"bytes"`

	// ClockOffsetMS 取得时录像机时钟比网关时钟快多少；缺为未知 / that the recorder's clock was ahead of the gateway's when this was fetched; absent: not known
	ClockOffsetMS *int64 `json:"clock_offset_ms,omitempty"`
	Codec         string `json:"codec"`

	// From 时间，RFC 3339，+08:00 / time
	From Time `json:"from"`

	// Host 录像机 / of the recorder
	Host      string `json:"host,omitempty,omitzero"`
	MediaType string `json:"media_type"`

	// Reason 结尾为何缺失 / why its end is missing
	Reason   string `json:"reason,omitempty,omitzero"`
	ReasonZh string `json:"reason_zh,omitempty,omitzero"`

	// SHA256 SHA-256, 64 hex digits
	SHA256 SHA256 `json:"sha256"`

	// ShiftMS 各时刻已由录像机时钟减去多少；缺为未换算 / that times here are less than by the recorder's clock; absent: they are its own
	ShiftMS int64 `json:"shift_ms,omitempty,omitzero"`

	// Source own 网关录制，recorder 录像机录制 / own: the gateway's; recorder: of the camera's recorder
	Source RecordingSource `json:"source"`

	// Times 录像机的时刻：recorder 由其逐帧给出；asked 未给出，首帧按所请求的时刻计 / of a recorder: it told when each picture was taken, or it did not and the first counts as taken when asked for
	Times RecordingPartTimes `json:"times,omitempty,omitzero"`

	// To 时间，RFC 3339，+08:00 / time
	To Time `json:"to"`
}

// RecordingPartTimes 录像机的时刻：recorder 由其逐帧给出；asked 未给出，首帧按所请求的时刻计 / of a recorder: it told when each picture was taken, or it did not and the first counts as taken when asked for
type RecordingPartTimes string

// RecordingSource own 网关录制，recorder 录像机录制 / own: the gateway's; recorder: of the camera's recorder
type RecordingSource string

// RecordingStretch defines model for RecordingStretch.
type RecordingStretch struct {
	// Bytes 网关保存的字节数 / that the gateway keeps
	Bytes int64 `json:"bytes,omitempty,omitzero"`

	// From 时间，RFC 3339，+08:00 / time
	From Time `json:"from"`

	// Reason 录像机的时段：网关为何没有 / of a recorder's: why the gateway has none of its own
	Reason   string `json:"reason,omitempty,omitzero"`
	ReasonZh string `json:"reason_zh,omitempty,omitzero"`

	// Source own 网关录制，recorder 录像机录制 / own: the gateway's; recorder: of the camera's recorder
	Source RecordingSource `json:"source"`

	// To 时间，RFC 3339，+08:00 / time
	To Time `json:"to"`
}

// RecordingTurn defines model for RecordingTurn.
type RecordingTurn struct {
	// From 时间，RFC 3339，+08:00 / time
	From Time `json:"from"`

	// Source own 网关录制，recorder 录像机录制 / own: the gateway's; recorder: of the camera's recorder
	Source RecordingSource `json:"source"`
}

// Refusal 逐条拒收 / one record of a batch that was refused
type Refusal struct {
	Code string `json:"code"`

	// Index 批内序号，从 0 起 / place in the batch, from 0
	Index  int    `json:"index"`
	Reason string `json:"reason"`
}

// Resource 资源 / an entity, site, outlet, point, device or camera
type Resource struct {
	// Data 资源内容，不含地址与口令；D 时省略 / the thing without addresses and secrets; absent for D
	Data json.RawMessage `json:"data,omitempty,omitzero"`
	ID   string          `json:"id"`

	// Kind 监管对象、场所、点位、测点、设备、摄像机
	Kind ResourceKind `json:"kind"`

	// Op 增、改、删 / added, updated, deleted
	Op       ResourceOp `json:"op"`
	Revision int64      `json:"revision"`
}

// ResourceKind 监管对象、场所、点位、测点、设备、摄像机
type ResourceKind string

// ResourceOp 增、改、删 / added, updated, deleted
type ResourceOp string

// ResourceBatch defines model for ResourceBatch.
type ResourceBatch struct {
	// Last 整目录重报的最后一批 / last batch of a full run
	Last      bool              `json:"last,omitempty,omitzero"`
	Mode      ResourceBatchMode `json:"mode"`
	Resources []Resource        `json:"resources"`

	// Revision 本批之后的登记版本 / registry revision after this batch
	Revision int64 `json:"revision"`

	// Sync 整目录重报的编号 / id of a full run
	Sync string `json:"sync,omitempty,omitzero"`
}

// ResourceBatchMode defines model for ResourceBatch.Mode.
type ResourceBatchMode string

// Result 指令结果 / result of a command
type Result struct {
	Blobs []SHA256 `json:"blobs,omitempty,omitzero"`

	// Command 消息编号 / id of a message
	Command MessageID `json:"command"`

	// Data 结果，见 x-commands / what the command gave
	Data json.RawMessage `json:"data,omitempty,omitzero"`

	// FinishedAt 时间，RFC 3339，+08:00 / time
	FinishedAt Time `json:"finished_at"`

	// Problem 错误说明 / what is wrong and what cures it (RFC 9457)
	Problem ProblemBody `json:"problem,omitempty,omitzero"`

	// StartedAt 时间，RFC 3339，+08:00 / time
	StartedAt Time `json:"started_at"`

	// Status 完成、失败、拒绝、已受理（仅直接下发）
	Status ResultStatus `json:"status"`
}

// ResultStatus 完成、失败、拒绝、已受理（仅直接下发）
type ResultStatus string

// Rotation defines model for Rotation.
type Rotation struct {
	// Reason 平台要求、定期、疑似泄露 / asked for, by schedule, suspected leak
	Reason RotationReason `json:"reason"`
}

// RotationReason 平台要求、定期、疑似泄露 / asked for, by schedule, suspected leak
type RotationReason string

// SHA256 SHA-256, 64 hex digits
type SHA256 = string

// SignedCommand 平台签名的请求 POST /api/v1/dispatch/commands，由长轮询转交 / the platform's signed request, handed over by the long poll
type SignedCommand struct {
	// Authorization Authorization 头 / value of the Authorization header
	Authorization string `json:"authorization"`

	// Body Command 的 JSON 原文 / the Command as JSON text
	Body string `json:"body"`
}

// SnapshotArgs defines model for SnapshotArgs.
type SnapshotArgs struct {
	// Camera 编号 / id
	Camera ID `json:"camera"`
}

// SnapshotData defines model for SnapshotData.
type SnapshotData struct {
	// Camera 编号 / id
	Camera ID `json:"camera"`

	// CapturedAt 时间，RFC 3339，+08:00 / time
	CapturedAt Time   `json:"captured_at"`
	Height     int    `json:"height,omitempty,omitzero"`
	MediaType  string `json:"media_type"`

	// SHA256 SHA-256, 64 hex digits
	SHA256 SHA256 `json:"sha256"`

	// Step 取图方式 / rung of the ladder
	Step  string `json:"step,omitempty,omitzero"`
	Width int    `json:"width,omitempty,omitzero"`
}

// StreamArgs defines model for StreamArgs.
type StreamArgs struct {
	// Stream 消息编号 / id of a message
	Stream MessageID `json:"stream"`

	// TTLSeconds stream.renew：从现在起的时长，缺省 300 / from now on; 300 if absent
	TTLSeconds int `json:"ttl_seconds,omitempty,omitzero"`
}

// StreamData defines model for StreamData.
type StreamData struct {
	// Camera 编号 / id
	Camera ID              `json:"camera"`
	Codec  StreamDataCodec `json:"codec,omitempty,omitzero"`

	// ExpiresAt 时间，RFC 3339，+08:00 / time
	ExpiresAt Time `json:"expires_at,omitempty,omitzero"`

	// FirstFrameMS 从受理到首帧发出 / from the taking of the command to the first frame on its way
	FirstFrameMS *int64 `json:"first_frame_ms,omitempty"`
	Height       int    `json:"height,omitempty,omitzero"`

	// PullURL 拉流地址 / where the pictures can be fetched
	PullURL string `json:"pull_url,omitempty,omitzero"`

	// RecordedFrom 时间，RFC 3339，+08:00 / time
	RecordedFrom Time `json:"recorded_from,omitempty,omitzero"`

	// Sources 录像回放：自哪个时刻起由谁录制，就所知而言 / of a recording: who has recorded what is shown from when on, as far as that is known
	Sources []RecordingTurn `json:"sources,omitempty,omitzero"`

	// Stream 消息编号 / id of a message
	Stream MessageID `json:"stream,omitempty,omitzero"`
	Width  int       `json:"width,omitempty,omitzero"`
}

// StreamDataCodec defines model for StreamData.Codec.
type StreamDataCodec string

// StreamEnd 一路推流的始末 / how a stream went
type StreamEnd struct {
	Bytes int64 `json:"bytes,omitempty,omitzero"`

	// Camera 编号 / id
	Camera ID     `json:"camera"`
	Codec  string `json:"codec,omitempty,omitzero"`

	// EndedAt 时间，RFC 3339，+08:00 / time
	EndedAt      Time   `json:"ended_at"`
	FirstFrameMS *int64 `json:"first_frame_ms,omitempty"`

	// Frames 已发帧数 / frames sent
	Frames int64 `json:"frames,omitempty,omitzero"`

	// LeftOut 因上行限额未发的帧数 / frames left out for the upload cap
	LeftOut int64 `json:"left_out,omitempty,omitzero"`

	// Lost 因发送不及丢弃的帧数 / frames lost because the way was too slow
	Lost int64 `json:"lost,omitempty,omitzero"`

	// OpenedAt 时间，RFC 3339，+08:00 / time
	OpenedAt Time `json:"opened_at"`

	// Problem 错误说明 / what is wrong and what cures it (RFC 9457)
	Problem ProblemBody `json:"problem,omitempty,omitzero"`

	// Reason 平台关闭、到期、摄像机失联或停用、接收方断开或不接收、上行带宽不足、网关停止、录像播放完毕、网关内存严重不足。
	// Closed by the platform, time is up, the camera is lost or retired, the receiver has gone or takes no more, no upload left, the gateway stops, there is no more of the recording, the gateway's memory is very short.
	Reason StreamEndReason `json:"reason"`

	// Stream 消息编号 / id of a message
	Stream MessageID `json:"stream"`
}

// StreamEndReason 平台关闭、到期、摄像机失联或停用、接收方断开或不接收、上行带宽不足、网关停止、录像播放完毕、网关内存严重不足。
// Closed by the platform, time is up, the camera is lost or retired, the receiver has gone or takes no more, no upload left, the gateway stops, there is no more of the recording, the gateway's memory is very short.
type StreamEndReason string

// StreamOpenArgs 网关将一路视频推送到 push_url：https（WHIP）、rtsps 或 rtsp（ANNOUNCE/RECORD，TCP）。主机须在网关的允许名单内，每次连接时复核。
// 不写 push_url 时，网关若可从外部访问，给出 pull_url。
// The gateway pushes pictures to push_url: https (WHIP), rtsps or rtsp (ANNOUNCE and RECORD over TCP). The host must be on the
// gateway's allow-list, which is looked at again for each connection. Without push_url a gateway that can be reached answers with pull_url.
// 写 from 则推送该时刻起的录像，按原速播放；网关没有而录像机有的，先取后播；都没有的时段跳过，录像为主码流，停用的摄像机亦可。要更快或更多请用 recording.export。
// With from the recording since then is pushed, at the pace at which it was taken; what the gateway lacks and the camera's recorder keeps is fetched and shown, what nobody
// has is passed over. It is of the main stream whatever profile says, and a retired camera's can be had too. Whoever wants it faster takes recording.export.
type StreamOpenArgs struct {
	// Camera 编号 / id
	Camera ID `json:"camera"`

	// From 时间，RFC 3339，+08:00 / time
	From    Time                  `json:"from,omitempty,omitzero"`
	Profile StreamOpenArgsProfile `json:"profile"`

	// PushToken WHIP 的 Bearer 令牌，或 RTSP 密码；不记录 / bearer token of WHIP or password of RTSP; never recorded
	PushToken string `json:"push_token,omitempty,omitzero"`

	// PushURL WHIP 或 RTSP 推流地址，须在允许名单 / WHIP or RTSP address on the allow-list
	PushURL string `json:"push_url,omitempty,omitzero"`

	// PushUser RTSP 用户名 / user of RTSP
	PushUser string `json:"push_user,omitempty,omitzero"`

	// TTLSeconds 时长，缺省 300 / how long; 300 if absent
	TTLSeconds int `json:"ttl_seconds,omitempty,omitzero"`
}

// StreamOpenArgsProfile defines model for StreamOpenArgs.Profile.
type StreamOpenArgsProfile string

// Subscription 实时数据订阅，整体替换 / subscription of real-time readings; replaces the one before
type Subscription struct {
	Items []SubscriptionItem `json:"items"`
}

// SubscriptionItem defines model for SubscriptionItem.
type SubscriptionItem struct {
	// EverySeconds 间隔秒数 / seconds between two batches
	EverySeconds int `json:"every_seconds"`

	// Points 测点；["*"] 为全部 / points; ["*"] means all
	Points []string `json:"points"`
}

// SyncData defines model for SyncData.
type SyncData struct {
	// Resources 将报送的资源数 / resources that will be sent
	Resources int   `json:"resources"`
	Revision  int64 `json:"revision"`
}

// Gateway 编号 / id
type Gateway = ID

// IdempotencyKey defines model for IdempotencyKey.
type IdempotencyKey = string

// Problem 错误说明 / what is wrong and what cures it (RFC 9457)
type Problem = ProblemBody
