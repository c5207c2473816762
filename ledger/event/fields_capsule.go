package event

// Capsules, policies and invocations.

// Kind returns KindCapsuleLoaded.
func (*CapsuleLoaded) Kind() Kind { return KindCapsuleLoaded }

// Kind returns KindCapsuleUnloaded.
func (*CapsuleUnloaded) Kind() Kind { return KindCapsuleUnloaded }

// Kind returns KindPolicyChanged.
func (*PolicyChanged) Kind() Kind { return KindPolicyChanged }

// Kind returns KindInvocationStarted.
func (*InvocationStarted) Kind() Kind { return KindInvocationStarted }

// Kind returns KindInvocationFinished.
func (*InvocationFinished) Kind() Kind { return KindInvocationFinished }

func (m *CapsuleLoaded) fields(v visitor) {
	v.text(1, "version", &m.Version)
	v.text(2, "manifest", &m.Manifest)
	v.blob(3, "manifest_sha256", &m.ManifestSHA256)
	v.blob(4, "module_sha256", &m.ModuleSHA256)
	v.u64(5, "module_bytes", &m.ModuleBytes)
	v.texts(6, "host_process", &m.HostProcess)
	v.flag(7, "allow_persistent", &m.AllowPersistent)
}

func (m *CapsuleUnloaded) fields(v visitor) {
	v.text(1, "reason", &m.Reason)
}

func (m *PolicyChanged) fields(v visitor) {
	v.text(1, "subject", &m.Subject)
	v.text(2, "text", &m.Text)
	v.blob(3, "sha256", &m.SHA256)
}

func (m *InvocationStarted) fields(v visitor) {
	v.text(1, "action", &m.Action)
	v.u64(2, "payload_bytes", &m.PayloadBytes)
	v.blob(3, "payload_digest", &m.PayloadDigest)
}

func (m *InvocationFinished) fields(v visitor) {
	v.text(1, "outcome", &m.Outcome)
	v.text(2, "returned", &m.Returned)
	v.text(3, "detail", &m.Detail)
	v.i64(4, "duration_nano", &m.DurationNano)
	v.flag(5, "instance_lost", &m.InstanceLost)
}
