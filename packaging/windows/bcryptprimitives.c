/* For tests under Wine 8, which lacks this library: random numbers from the one it has. Never shipped. */
#include <windows.h>
#include <ntsecapi.h>

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE data, SIZE_T bytes)
{
    while (bytes > 0) {
        ULONG part = bytes > 0x10000000 ? 0x10000000 : (ULONG)bytes;
        if (!RtlGenRandom(data, part))
            return FALSE;
        data += part;
        bytes -= part;
    }
    return TRUE;
}
