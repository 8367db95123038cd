# tohub opposite strongSwan 5 and 6, and opposite a Linux kernel in a virtual machine; the tables go to docs/interop.md. Needs root and,
# the first time, a Debian mirror. INTEROP="group 19" plays only the cases whose names contain these words, and leaves the page alone.
.PHONY: interop interop-kernel
interop interop-kernel: setup
	@$(CARGO) build --quiet --workspace --bins
	@$${CARGO_TARGET_DIR:-target}/debug/tohub-interop $(if $(filter interop,$@),strongswan,kernel) docs/interop.md $(INTEROP)
