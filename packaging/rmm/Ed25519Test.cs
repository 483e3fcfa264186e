// Holds the checker of nightkeep.ps1 to what another program says: one line a case on standard input, `KEY MESSAGE SIGNATURE
// good|bad` in hexadecimal, a message of nothing as `-`. Fails with the first case that it sees otherwise.
using System;

public static class Ed25519Test
{
    static byte[] Bytes(string hex)
    {
        if (hex == "-") return new byte[0];
        byte[] bytes = new byte[hex.Length / 2];
        for (int i = 0; i < bytes.Length; i++) bytes[i] = Convert.ToByte(hex.Substring(2 * i, 2), 16);
        return bytes;
    }

    public static int Main()
    {
        int cases = 0;
        string line;
        while ((line = Console.ReadLine()) != null)
        {
            string[] words = line.Split(' ');
            bool good = NightkeepEd25519.Verify(Bytes(words[0]), Bytes(words[1]), Bytes(words[2]));
            if (good != (words[3] == "good"))
            {
                Console.Error.WriteLine("seen otherwise: " + line);
                return 1;
            }
            cases++;
        }
        Console.WriteLine(cases);
        return cases > 0 ? 0 : 1;
    }
}
