"""Letters of 7 by 13 pixels: Latin, Greek and Cyrillic of the font 7x13 of X11 (font-misc-misc: public domain)."""

from __future__ import annotations

import base64
import zlib

WIDTH, HEIGHT = 7, 13
_RANGES = (
    (0x0020, 0x007F),
    (0x00A0, 0x0180),
    (0x018F, 0x0190),
    (0x0192, 0x0193),
    (0x0218, 0x021C),
    (0x02C6, 0x02DE),
    (0x037A, 0x037B),
    (0x037E, 0x037F),
    (0x0384, 0x038B),
    (0x038C, 0x038D),
    (0x038E, 0x03A2),
    (0x03A3, 0x03CF),
    (0x03D0, 0x03D8),
    (0x03DA, 0x03F6),
    (0x0400, 0x0487),
    (0x0488, 0x048A),
    (0x048C, 0x04C5),
    (0x04C7, 0x04C9),
    (0x04CB, 0x04CD),
    (0x04D0, 0x04F6),
    (0x04F8, 0x04FA),
    (0x1E80, 0x1E86),
    (0x2010, 0x2028),
    (0x2030, 0x203B),
    (0x20AC, 0x20AD),
    (0x2116, 0x2117),
    (0x2122, 0x2123),
    (0x2126, 0x2127),
    (0x2190, 0x2196),
    (0x2202, 0x2203),
    (0x2206, 0x2207),
    (0x2211, 0x2213),
    (0x2219, 0x221B),
    (0x221E, 0x2220),
    (0x2248, 0x2249),
    (0x2260, 0x2266),
    (0x25A0, 0x25A2),
    (0xFFFD, 0xFFFE),
)
"""From one code point up to another."""

_ROWS = zlib.decompress(
    base64.b85decode(
        "c-nnhA&lcn61BdplXV(k5D>6B83Y&{Ff<roU|{e;^cApR!GHy;Q$WB10|V=1odQ;;=qq5rfPjGLv|z!20jJY~0Us<}bZEeU0S5+r5MZsYs"
        "=BJWI+^*so87#WyItK?{i?d`C<<EYT9hKl^W2E?yn{ddOL{pkCoNqS)%zw*vu3+?qN~m3YP<f(qxt>`T$E*Lnjpac6a2-=nqn*(uR~}1K`"
        "V=jzje`xz9n86$1qlwRdiL+4A`22<i(sOME%-fh?An~M+9S>q-7irE$KGRoAr83NVl=?@9srXR)_`%u#escMjPnE;L}G?V`bEGy7B*R3eZ"
        "2RvNVZV{gM7+qhC>~ii#Bg-0VMZ`&K76!Uw^zuIm;)M|W9|&8dTuS|l)^{uw@_1-<sU0nHH%JTeX4u_MsBy-BF8X>!AQv-`T+tm(3z8x1{"
        "t`*wRP0}R9ce*1|*JGka_gD*#~0k-|NjYT3uqi(HOLDWe_Q5_8}-84l}h~)P6+c(w#es3D5L0#v$4uEDXGUo?vB@KtGD)7)GiBX$2k%p2q"
        "ucPxeq9>pH*2W#LXzyI-{!S!=*e8zTkDms<j3gsV%DSqaQ5}|iT(4Jsi!vU~%?DhgQ2Ru2bO9sAbzRbB>&*i%Vqwh)?ZX0^OvH@FhG@Oy{"
        "*EmafuiWz&Smdvqgy*%O}UR#8t)&8A#`#zExrQKKxhRvDLAz61NY(aM%)T$pEt-ESI8W1JUx*aS4bciNF(T%vqclV+|tPSPFgPJ^965AT<"
        "ZtWn(Z^RP18DU*6aEFm>siBI5FY@ilzdeDiX&ojlE|(-0t`LTQ*~SSzjt!P4f9}o=^1BE{;t<Gr;H1x1ZVL?G*5qmZOm$>4Izy%fy@$t<o"
        "%=XL3<?vJ7aFZ?|aD?&<02LvF~uIA60Y%C2C|SAhnqDNY8aM27zg3;4gu<W0<=`5kr_+UfzAZvQh&A{Y>MoO3bQGRR{iIUn500|){hyuUV"
        "}X@biN52AOw-R|yTxBGWMgE)m0>F(Ll6JQVEJ{~j{K%Y*x4D>M|H=wQ!Ai8~Ix&^I)`jGqFXsvP;jOGDo-~sgUps|u*lf><(?G}9OzU^t~"
        "!45sxp$9vf2T6)VD0`t7CT0WA=S^L|jaY4EF;rUts;vOkR?rwpfzF~5<ef>k*?tIU5FM13N0^V6M*uC4fX0H%G9NmR0(2e)jR8$DPdvYY)"
        "}HyqKwbj@Vj$_`L1QHmZAHyj&_vEYVjx{a57<DuZl{+C4NCYx3%Sdjq?N5OFoEb=53SiHh^*x}z9)auFg0`lXx5rJB&iQmv;-<)<RrY$cn"
        "u0KX$sq?2_;8ON}9q(K)ZjU_%BA%nypDQ6+ajP$zUV}3%E~Vd`B~(Y-+-8RiJKWw8r#tv%c|`(|}C(^x0GEC2rCp0qBFcW?Zo9X=WtOC)l"
        "RbnFM<mGJn(^E*$agv3mQS!R)OiAwcT!on%ZMXU!^s5N-MZ@>@o8K3W~wW&qM~w8-?iSyMY~TyT$mM%5OR1g7B9Mwc`Kni4{&8D!O)bfxM"
        "!yX4#ju+J@JpSzoC)`=XVDGq?mmFWXk4Et<0;uH|tW-|zHN0++HuOMz!os;Cn6-#h4Dw8Afw4vFp)0!m!;HIVzAno%Nq-r@oKs+@AAZP>j"
        "Z#~rvfn+d}Sr9R1mY%xJW^)4{O#rtyj)-A8K>tV16LE5y*<n~1cWM%rxXGD5I63L#IHZjYk8*10_K!#iNz$kpKIbY<0>H6`^dTgD^dOL=C"
        "hLSgv#H2j7n6^6<Q*LJ@b_nyV5lA}$9p1ft%Q*<>=0N%B@py%3@*H6W@E4*f9N6!A0wQE5~RqSWgz#^#F@Tp5HCzz0N3&o%y%$}b{;QibO"
        "afD2||%Hh3(TA2`0W@EAfzah~rV_GliYh!j{=pe`M3wEmzni+UB`o`5-*`CpN#$TutG$kP%c6qE{}Lf!u*zt`7PZN#eCCs;cmLxV_92Ey4"
        ";0khdH#tbSpFU%Yg50Y3n*^lkR?87C`F$_#dKl7&6EzTMAevrG7#rT*P6%StfgCGCa1yNWJ*w|2+iH#z_`qOHYt;zV9DonoJKKR~_@EIU0"
        "fT42(N9|_34)B@lT-{5(DJTF?91AADfXc@T5Lgw1>tWF_A4}V;z82LCho)s;|hTB;MW9+L;w@gr{2x<;+@WfW8XQhb+3sQg6rulYy#t8N{"
        "W@&gV-@ezBZRPVfjwNvH%Bl#rEIAjN#2zcm0IT&Hr{oe%qd2Nl1%&~BpD}}o(Bozg0$7Zv>YCCO*-WYd4c*LFP0bvFY2Gk|=hObAWPta<8"
        "l2oGP-j$=utcXod6x9)zzehwI*C>zf(6Nq9U@wSoQpn-K(deu#$cU%u*;j+V?~mN5<fuEtiSvwrAn|u2MLl(nDT{jBmna{1MmZuF^!Z~w@"
        "#}ocvD>KAuiD*y|Y!qhZMD3P!7b^QP_ibz)^E>r+2jWh*j29HWQpgDPc;J>Fnppj0!}~mH!&cih5Af3UJ+HM#q3l2OhBWhWS6m1qdbkI+p"
        "yP22HiVx}L)>>xpugXqp_{jPFCZbmiKX250AM`#V|qGVRQ|!NN_txstG3s?d?zlbT&nWea!*+GW*N)up5CS1JqSc_ngWJaxqgWj?eIT;;T"
        "WvG93ba|nvEtNDEX7FL^r1*ChM<955f4sME3!Ej=h4rpL^#&F3>CpTSlqxx4!-k`9O_v=hvf^~3bj>9RFle6MKl169=K2XPi6DIGtvi%a1"
        "pTq@E-jZd#P<}Q=^RpteEC_Qqvv)w=vQ#5FGxu?R&0Q8`tOGZ??14>E%6%TeSdT)L=)bMwgE)pg;tYJf-|rvcLpJU3K9gBJoK>7*zYq~C*"
        "`a}s!j`?+=%v~xC_j_pCEJH2Wvmis6i(ATAQL^WmB}yFKIpW|1s{26vg0ci=W#Hhz*jxO4Jal$FBqTDU{F`~_HliD@zvW$OeB{*pn-fb`;"
        "qNKCTiI}q}v<6I@f3*$=0y8Qu_+ii<K-&g3;Va#L5Ud^h0mLt`^$US87}#JrO0m`{kD#9)JkpI=HEno78exuL=xo>+!VbD5-T%*M?gOySa"
        "uOOzG8o<vy)jn%(ZW+v)0D@1Gf@#N?g&8^UhEEOvN0jNiZO6c8~5<f-w|uFgvb#{2uj^WAstGu|JL2<QljR0I2?Wmqx@(yt)apK^SQsAWb"
        "1!p*Wwvzms|l})1}TEv-3U_Exb-7T~x;X5rDq$N|DJ}%?{h9_aO)^Mq=bsI?FbmOfcu|7$BwY6W-^pd8yeh&vZ_*R+|LYi0REMX-{X--Pj"
        "{?GnfR)4r~*V7j?{R#+0o)-XKIdB}d>)(xE-`#J2gDkIy1Eh@@k>ImulxScWoJ$jZ|FFURoL;d6vdJ2cXSjP;@cGO;m=FPtGI}H}8E9Y;a"
        "-h9HOn&&Xd)R$BD8C(^4_u6UZ01*3C>PT|Hk{DjgP=kYOWx;2?ha5COX2g0??Z^dKUu<$&H*18tXx1}EI4Od5k!CnhH%i*12JddYlk$NX?"
        "atCgtjSrMW;XyDVp~RU`ZE9hyo-6{^O^gJlzs_;!~1v?2`hVBtB8S&@})^01F$JlZmo2;LAxYb-tsC3l6!O!+V%AXWoeS9Rro57e<1>q*A"
        "cEY#u^T2*o=^X`P}p2?pQRAp{cmFL-$gB6z(XA3V<r9-f5Hv+To@*K6KkMaJRLKTV29`{=?+@;q1rf^H4mMVgoqlq}$wW~(IjL2u-jDB37"
        "U*|1{9u>>Dn7>UBOCtbl~mDjk}T{H%LR00{3CQKx`Bt_dGnPW_$%{^4<%uGcx3njDWypMBOg|vh=nIp)V17_R4nwO=fnwMEgVk9)MN}@b`"
        "bRM<AI|o4_>f{Xt-+sIZa%rLT2R@)Mg|Fi5kuv{Q6y_a>S+iU!ST4^iR_?duvYDMc(bh^y+NHLDR(4&-saSQjYFAg)$>V)nKD1zQ_I%sDs"
        "kHdlR>ACV-w$+8Gq;&lda*c|;Amg=XzUCQhsBHU9`IS5Ui$Gb`tWN$WesuinXA;B?SH?2`4410V6%6NMet&QuL+?N)mUZnn$aS)XWC>;Qu"
        "`j4yyyVw!H+t(ef%pB@ufd57lqW{sH$a(#DP~8Z7WMkZ(eP7JF&^~*I&K){i{I`4R5dEFLz4DG#jg4U36481<42^D`3$@@wK=R0AGu*41T"
        "!AZu@s^4wTEq$K|qH!sPxBN-^N?"
    )
)
_PLACES = {code: place for place, code in enumerate(code for first, end in _RANGES for code in range(first, end))}
_UNKNOWN = "\ufffd"


def glyph(character: str) -> bytes:
    """The rows of a letter from its top, the leftmost pixel in the highest bit; those of U+FFFD where there is none."""
    place = _PLACES.get(ord(character), _PLACES[ord(_UNKNOWN)])
    return _ROWS[place * HEIGHT : (place + 1) * HEIGHT]
