# Net::Stomp as a peer: perl stomp.pl HOST PORT NAME VERSION

use strict;
use warnings;
use Net::Stomp;

my ($host, $port, $name, $version) = @ARGV;

my $stomp = Net::Stomp->new({hostname => $host, port => $port});
my $connected = $stomp->connect({login => 'guest', passcode => 'guest', 'accept-version' => $version, host => 'x'});
die 'not connected' unless $connected->command eq 'CONNECTED' and $connected->headers->{version} eq $version;
$stomp->subscribe({destination => "$name/in", id => 'one', ack => 'client'});
$stomp->send({destination => "$name/in", body => 'from itself', 'x-header' => 'kept'});
my $frame = $stomp->receive_frame({timeout => 20}) or die 'nothing came';
die 'another body' unless $frame->body eq 'from itself';
die 'another header' unless $frame->headers->{'x-header'} eq 'kept';
# What names a message it leaves to its caller.
$stomp->ack({frame => $frame, subscription => 'one', id => $frame->headers->{ack} // ''});
my $receipt;
die 'no receipt' unless $stomp->send_transactional({destination => "$name/in", body => 'at once'}, $receipt);
$frame = $stomp->receive_frame({timeout => 20}) or die 'nothing came';
die 'another body' unless $frame->body eq 'at once';
$stomp->disconnect;
print "all is well\n";
