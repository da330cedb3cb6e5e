#include "textflag.h"

// func maskBlocks(p []byte, k uint64)
TEXT ·maskBlocks(SB), NOSPLIT, $0-32
	MOVQ       p_base+0(FP), DI
	MOVQ       p_len+8(FP), CX
	MOVQ       k+24(FP), X0
	PUNPCKLQDQ X0, X0           // k twice
	ADDQ       DI, CX           // the end of p

	PCALIGN $16

block:
	MOVOU (DI), X1
	MOVOU 16(DI), X2
	MOVOU 32(DI), X3
	MOVOU 48(DI), X4
	PXOR  X0, X1
	PXOR  X0, X2
	PXOR  X0, X3
	PXOR  X0, X4
	MOVOU X1, (DI)
	MOVOU X2, 16(DI)
	MOVOU X3, 32(DI)
	MOVOU X4, 48(DI)
	ADDQ  $64, DI
	CMPQ  DI, CX
	JB    block
	RET
