// The guest in guest.wasm, a component as the usual tools make it:
//
//	clang-19 --target=wasm32 -nostdlib -O1 -Wl,--no-entry -o g.wasm guest.c
//	wasm-tools component embed wit g.wasm -w capsule -o e.wasm
//	wasm-tools component new e.wasm -o guest.wasm
//
// wit holds host/wit/process-1.0.0.wit as deps/process-1.0.0.wit and the world
//
//	package test:caps;
//	world capsule {
//	  import astrid:process/host@1.0.0;
//	  export astrid-hook-trigger: func(action: string, payload: list<u8>) -> capsule-result;
//	  record capsule-result { action: string, data: option<string> }
//	}
typedef unsigned char u8;
typedef unsigned int u32;

__attribute__((import_module("astrid:process/host@1.0.0"), import_name("spawn"))) void spawn(void *request, void *ret);

static u8 heap[65536];
static u32 top;

__attribute__((export_name("cabi_realloc"))) void *cabi_realloc(void *old, u32 size, u32 align, u32 want) {
	top = (top + align - 1) / align * align;
	void *p = heap + top;
	top += want;
	return p;
}

static u32 request[44], ret[20], result[5];

__attribute__((export_name("astrid-hook-trigger"))) void *hook(u32 action, u32 len, u32 payload, u32 n) {
	request[0] = (u32) "true";
	request[1] = 4;
	request[2] = request[7] = (u32)heap;
	spawn(request, ret);
	result[0] = (u32) "continue";
	result[1] = 8;
	return result;
}
